-- Customers with seven bills each, forty days apart: five before the one that is due, and one after it.
-- %(n)s customers, and %(warned)s more who were warned twice and are due for the field teams on the day of
-- %(now)s. What each of them does is drawn. As in the sample, the bills of each cycle lie in the same order of
-- customers, whose references are scattered.

SELECT setseed(0.4);
SET LOCAL session_replication_role = replica; -- past cases and notices begin where they are by now

CREATE TEMPORARY TABLE drawn ON COMMIT DROP AS
SELECT n AS customer, lpad(mod(n * 387420489::bigint + 42580496, 1000000000)::text, 9, '0') AS reference, 'TUN' || 1 + mod(n, 4) AS district,
    18000 + (random() ^ 3 * 420000)::bigint AS amount,
    random() AS pays, random() AS halves, random() AS pays_new, random() AS reached, random() AS known,
    random() AS what, random() AS corrected
FROM generate_series(0, %(n)s + %(warned)s - 1) n;
CREATE UNIQUE INDEX ON drawn (customer);
ANALYZE drawn;

-- One in a hundred has left; some have come back, with another number.
INSERT INTO subscription (customer_reference, phone, language, state, channel, consent_date)
SELECT reference, '+2162' || lpad(customer::text, 7, '0'), CASE mod(customer, 5) WHEN 0 THEN 'fr' ELSE 'ar' END,
    CASE WHEN customer >= %(n)s THEN 'active' WHEN reached < 0.01 THEN 'ended'
        WHEN reached < 0.015 THEN 'suspended' ELSE 'active' END,
    'coupon', '2026-01-01'
FROM drawn ORDER BY customer;
INSERT INTO subscription (customer_reference, phone, language, channel, consent_date)
SELECT reference, '+2165' || lpad(customer::text, 7, '0'), 'ar', 'web', '2026-04-01'
FROM drawn WHERE reached < 0.003 AND customer < %(n)s ORDER BY customer;

-- --- Bills: number 5 is due, number 6 was issued a day ago ---------------------------------------------

CREATE TEMPORARY TABLE bill ON COMMIT DROP AS
SELECT number, number + 1 AS cycle, '26' || number || lpad(customer::text, 9, '0') AS invoice,
    DATE '2026-05-20' + (number - 5) * 40 AS issued, DATE '2026-06-22' + (number - 5) * 40 AS due,
    drawn.amount + number * 1000 AS owed, drawn.*
FROM generate_series(0, 6) number CROSS JOIN drawn
WHERE customer < %(n)s;
INSERT INTO bill
SELECT 4, 5, '264' || lpad(customer::text, 9, '0'), '2026-04-10', '2026-05-13', amount + 4000, drawn.*
FROM drawn WHERE customer >= %(n)s;
ANALYZE bill;

INSERT INTO cycle (key, issue_date)
SELECT to_char(issued, 'YYYY-MM-DD'), issued FROM (SELECT DISTINCT issued FROM bill) bill ORDER BY issued;
INSERT INTO invoice (extract_id, row_number, cycle_id, invoice_number, revision, customer_reference, district,
    supply, period_start, period_end, amount_due_millimes, due_date, issue_date, estimated, bucket,
    subscription_id)
SELECT cycle, 1 + customer, cycle, invoice, 0, reference, district, 'electricity', issued - 70, issued - 10, owed,
    due, issued, mod(customer, 2) = 0, 'noticed', 1 + customer
FROM bill ORDER BY number, customer;
-- Corrected, by an extract of corrections.
INSERT INTO invoice (extract_id, row_number, cycle_id, invoice_number, revision, customer_reference, district,
    supply, period_start, period_end, amount_due_millimes, due_date, issue_date, estimated, bucket,
    subscription_id)
SELECT 100, 1 + customer, cycle, invoice, 1, reference, district, 'electricity', issued - 70, issued - 10,
    owed + 500, due, issued, false, 'noticed', 1 + customer
FROM bill WHERE number = 5 AND corrected < 0.005 ORDER BY customer;

-- --- Payments: nearly all of what is old, 70 percent of what is due, little of what is new ---------------

INSERT INTO feed (content, name, source, location, manifest, digest, loaded_at, applied_at) VALUES
    ('payments', '2026-06-30-0600', 'landing', 'x', '{}', 'x', %(now)s, %(now)s),
    ('facts', '2026-06-30-0600', 'landing', 'x', '{}', 'x', %(now)s, %(now)s);
INSERT INTO watermark (channel, complete_until, feed_id)
SELECT channel, '2026-06-30T06:00+01:00', 1
FROM unnest(ARRAY['counter', 'post', 'bank', 'web', 'app', 'debit']) channel;

-- Of the due bills 66 percent are paid and 4 percent too much; 8 percent in part, and 2 percent by cheques
-- that bounced; of 1 percent a rest is left that is not worth a cut. One payment in ten comes in halves.
CREATE TEMPORARY TABLE paid ON COMMIT DROP AS
SELECT bill.*, half, CASE WHEN halves < 0.1 THEN (given + half - 1) / 2 ELSE given END AS millimes,
    md5(invoice || half) AS id
FROM (
    SELECT bill.*, CASE
        WHEN customer >= %(n)s THEN CASE WHEN mod(customer, 10) = 0 THEN owed END
        WHEN number = 6 THEN CASE WHEN pays_new < 0.03 THEN owed END
        WHEN number = 4 AND mod(customer, 97) = 3 THEN owed + 30000
        WHEN number < 5 THEN CASE WHEN mod(customer * 7 + number, 100) < 95 THEN owed END
        WHEN pays < 0.66 OR pays BETWEEN 0.78 AND 0.80 THEN owed
        WHEN pays < 0.70 THEN owed + 25000
        WHEN pays < 0.78 THEN owed / 2
        WHEN pays < 0.81 THEN owed - 2000
    END AS given
    FROM bill
) bill CROSS JOIN generate_series(1, 2) half
WHERE given > 0 AND (half = 1 OR halves < 0.1);
INSERT INTO payment (payment_id, invoice_number, amount_millimes, paid_at, channel, kind, feed_id, row_number,
    known_until, counts_millimes, outcome)
SELECT 'P' || id, invoice, millimes,
    least(issued + interval '1 day' * (CASE WHEN given > owed THEN 45 ELSE 3 END + mod(customer, 27)), '2026-06-30'),
    (ARRAY['counter', 'counter', 'counter', 'post', 'bank', 'web', 'app'])[1 + mod(customer, 7)], 'payment', 1,
    row_number() OVER (), '2026-06-30T06:00+01:00', millimes, 'counted'
FROM paid ORDER BY number, mod(customer, 27), id; -- customers come to pay in an order of their own
INSERT INTO payment (payment_id, invoice_number, amount_millimes, paid_at, channel, kind, reverses, feed_id,
    row_number, known_until, counts_millimes, outcome)
SELECT 'R' || id, invoice, millimes, '2026-06-29', 'bank', 'reversal', 'P' || id, 1, 10000000 + 2 * customer + half,
    '2026-06-30T06:00+01:00', -millimes, 'counted'
FROM paid WHERE number = 5 AND pays BETWEEN 0.78 AND 0.80 ORDER BY customer;

-- --- What is known of accounts: of one in ten, some of it past, some of it of one bill only --------------

INSERT INTO account_fact (fact_id, customer_reference, invoice_number, fact, valid_from, valid_until, set_by,
    feed_id, row_number, told_in)
SELECT 'F' || customer || '-' || nth, reference, CASE WHEN what BETWEEN 0.5 AND 0.6 THEN invoice END,
    (ARRAY['payment_plan', 'payment_plan', 'dispute', 'direct_debit', 'protected', 'estimate_review',
        'number_changed', 'contract_ended'])[1 + mod((what * 1000)::int + nth, 8)],
    '2026-05-01', CASE WHEN what < 0.2 THEN DATE '2026-06-15' WHEN what < 0.6 THEN DATE '2026-09-30' END,
    'billing', 2, row_number() OVER (), '2026-06-30-0600'
FROM bill CROSS JOIN generate_series(1, 2) nth
WHERE number = 5 AND known < 0.1 AND (nth = 1 OR what > 0.9) ORDER BY customer;

INSERT INTO set_aside_row (feed_id, row_number, part, part_row, content, reasons, fields, subject,
    invoice_number)
SELECT 1, 1 + customer, 'payments.csv', 1 + customer, 'payments', '{amount_millimes: not_an_integer}', '{}',
    'Q' || customer, invoice
FROM bill WHERE number = 5 AND mod(customer, 2500) = 7;
INSERT INTO set_aside_row (feed_id, row_number, part, part_row, content, reasons, fields, subject,
    customer_reference)
SELECT 2, 1 + customer, 'facts.csv', 1 + customer, 'facts', '{valid_from: form}', '{}', 'Q' || customer, reference
FROM bill WHERE number = 5 AND mod(customer, 10000) = 11;

-- --- The due bills were told, and have a case, as have those before and after them -------------------------

INSERT INTO notice (kind, subject, sequence, cycle_id, extract_id, subscription_id, district, phone, language,
    text, encoding, segments, priority, send_from, send_until, validity_minutes, state, attempts, final_at)
SELECT 'bill', invoice, 1, cycle, cycle, 1 + customer, district, '+2162' || lpad(customer::text, 7, '0'), 'ar',
    'a bill', 'gsm7', 1, 50, issued, due, 720, 'delivered', 1, issued
FROM bill WHERE number = 5 ORDER BY customer;
INSERT INTO cutoff_case (invoice_number, cycle_id, subscription_id, customer_reference, district, revision,
    notice_id, amount_due_millimes, issue_date, due_date, warn_from, state, reason)
SELECT invoice, cycle, 1 + customer, reference, district, 0, uuidv7(), owed, issued, due, due + 5,
    CASE number WHEN 4 THEN 'paid' ELSE 'scheduled' END, CASE number WHEN 4 THEN 'paid' END
FROM bill WHERE number >= 4 AND customer < %(n)s ORDER BY number, customer;

CREATE TEMPORARY TABLE warned ON COMMIT DROP AS
SELECT *, uuidv7() AS warning FROM bill WHERE customer >= %(n)s;
INSERT INTO notice (id, kind, subject, sequence, cycle_id, subscription_id, district, phone, language, text,
    encoding, segments, priority, send_from, send_until, validity_minutes, state, attempts, final_at)
SELECT warning, 'cutoff_warning', invoice, 1, cycle, 1 + customer, district,
    '+2162' || lpad(customer::text, 7, '0'), 'ar', 'a warning', 'gsm7', 1, 20, issued, due, 720, 'delivered', 1,
    '2026-06-15'
FROM warned ORDER BY customer;
INSERT INTO receipt (gateway, raw, notice_id, attempt, status, happened_at, match)
SELECT 'bench', '{}', warning, 1, 'delivered', '2026-06-15', 'moved' FROM warned ORDER BY customer;
INSERT INTO cutoff_case (invoice_number, cycle_id, subscription_id, customer_reference, district, revision,
    notice_id, amount_due_millimes, issue_date, due_date, warn_from, state, warning_id, warned_at,
    warned_again_at, cut_from)
SELECT invoice, cycle, 1 + customer, reference, district, 0, uuidv7(), owed, issued, due, due + 5,
    'warned_again', warning, '2026-06-15', '2026-06-25', '2026-06-30'
FROM warned ORDER BY customer;
