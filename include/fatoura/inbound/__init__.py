"""Messages that customers send: keywords by which they leave."""
