// An SMS centre for tests: takes SMPP binds and messages, writes down what came, reports on each message.
// Started by stack.py as: node smsc.js PORT LOG [RECEIPT_DELAY_MS]. It delivers to nobody.
// On SIGUSR2 the link to the gateway drops, and stays down for a while.
// On SIGHUP it passes on what a customer sent: the JSON document LOG.inbound says from, to, coding and octets.
//
// The last digit of the recipient's number chooses what happens to its message:
//   0 delivered          1 undeliverable     2 expired            3 rejected by the network
//   4 refused at once    5 throttled once    6 queue full once    7 no receipt
//   8 two receipts       9 unknown
'use strict';

const fs = require('fs');
const smpp = require('smpp');

const [port, logFile, delay = '50'] = process.argv.slice(2);
const log = fs.openSync(logFile, 'a');
const RETRY_MS = 3000;
const LINK_DOWN_MS = 1500;

// Raw octets, not the library's idea of the text.
for (const command of ['submit_sm', 'deliver_sm']) {
  delete smpp.commands[command].params.short_message.filter;
}

const STATUS = { 0: 'DELIVRD', 1: 'UNDELIV', 2: 'EXPIRED', 3: 'REJECTD', 5: 'DELIVRD', 6: 'DELIVRD', 8: 'DELIVRD', 9: 'UNKNOWN' };
const REFUSED = 0x0000000b; // invalid destination address
const THROTTLED = 0x00000058;
const QUEUE_FULL = 0x00000014;

const sessions = new Set();
const refusedOnce = new Set();
const unacknowledged = new Map(); // receipt number → receipt; given again until the client has it
let lastMessage = 0;
let lastReceipt = 0;
let linkDownUntil = 0;

function write(event) {
  fs.writeSync(log, JSON.stringify({ at: Date.now() / 1000, ...event }) + '\n');
}

function stamp() {
  return new Date().toISOString().replace(/[-:T]/g, '').slice(2, 12);
}

function give(number) {
  const receipt = unacknowledged.get(number);
  const [session] = sessions;
  if (!receipt) return;
  if (session) {
    session.deliver_sm(receipt.pdu, () => {
      if (unacknowledged.delete(number)) write({ event: 'receipt', id: receipt.id });
    });
  }
  setTimeout(give, RETRY_MS, number);
}

function report(pdu, id, status) {
  const number = ++lastReceipt;
  const delivered = status === 'DELIVRD' ? '001' : '000';
  const error = status === 'DELIVRD' ? '000' : '011';
  const text = `id:${id} sub:001 dlvrd:${delivered} submit date:${stamp()} done date:${stamp()} stat:${status} err:${error} text:`;
  unacknowledged.set(number, {
    id,
    pdu: {
      esm_class: 4,
      source_addr_ton: 1,
      source_addr_npi: 1,
      source_addr: pdu.destination_addr,
      destination_addr: pdu.source_addr,
      short_message: Buffer.from(text, 'latin1'),
    },
  });
  give(number);
}

function answer(pdu) {
  const digit = pdu.destination_addr.slice(-1);
  if (digit === '4') return REFUSED;
  if (digit === '5' || digit === '6') {
    const key = pdu.destination_addr + pdu.short_message.toString('hex');
    if (!refusedOnce.has(key)) {
      refusedOnce.add(key);
      return digit === '5' ? THROTTLED : QUEUE_FULL;
    }
  }
  return 0;
}

process.on('SIGUSR2', () => {
  linkDownUntil = Date.now() + LINK_DOWN_MS;
  for (const session of sessions) session.destroy();
  sessions.clear();
});

process.on('SIGHUP', () => {
  const message = JSON.parse(fs.readFileSync(logFile + '.inbound', 'utf8'));
  const [session] = sessions;
  session.deliver_sm({
    source_addr_ton: 1,
    source_addr_npi: 1,
    source_addr: message.from,
    destination_addr: message.to,
    data_coding: message.coding,
    short_message: Buffer.from(message.octets, 'hex'),
  });
});

const server = smpp.createServer((session) => {
  if (Date.now() < linkDownUntil) {
    session.on('error', () => {});
    session.destroy();
    return;
  }
  const greet = (pdu) => {
    sessions.add(session);
    session.send(pdu.response({ system_id: 'SMSC' }));
  };
  session.on('bind_transceiver', greet);
  session.on('enquire_link', (pdu) => session.send(pdu.response()));
  session.on('unbind', (pdu) => {
    sessions.delete(session);
    session.send(pdu.response());
  });
  session.on('close', () => sessions.delete(session));
  session.on('error', () => sessions.delete(session));
  session.on('submit_sm', (pdu) => {
    const status = answer(pdu);
    const id = status ? '' : `S${String(++lastMessage).padStart(9, '0')}`;
    const validity = pdu.validity_period;
    write({
      event: 'submit',
      id,
      status,
      to: pdu.destination_addr,
      from: pdu.source_addr,
      from_ton: pdu.source_addr_ton,
      coding: pdu.data_coding,
      esm_class: pdu.esm_class,
      registered: pdu.registered_delivery,
      validity: validity instanceof Date ? validity.getTime() / 1000 : validity,
      octets: pdu.short_message.toString('hex'),
    });
    session.send(pdu.response({ command_status: status, message_id: id }));
    const digit = pdu.destination_addr.slice(-1);
    if (status || !(pdu.registered_delivery & 3) || digit === '7') return;
    setTimeout(report, Number(delay), pdu, id, STATUS[digit]);
    if (digit === '8') setTimeout(report, Number(delay) + 20, pdu, id, STATUS[digit]);
  });
});

server.listen(Number(port), '127.0.0.1', () => write({ event: 'listening' }));
