-- %(n)s subscriptions whose year ends in June, with what the last one cost, and its books.

SELECT setseed(0.4);
SET LOCAL session_replication_role = replica; -- past charges begin where they are by now

INSERT INTO subscription (customer_reference, phone, language, channel, consent_date, began_on, paid_until,
    created_at, changed_at)
SELECT lpad(mod(n * 387420489::bigint + 42580496, 1000000000)::text, 9, '0'), '+2162' || lpad(n::text, 7, '0'),
    CASE mod(n, 5) WHEN 0 THEN 'fr' ELSE 'ar' END, 'coupon', '2025-05-01', DATE '2025-06-02' + mod(n, 29),
    DATE '2026-06-01' + mod(n, 29), '2025-05-01', '2025-05-01'
FROM generate_series(0, %(n)s - 1) n;

INSERT INTO fee_file (name, day, charges, charged_millimes, credits, credited_millimes, made_at, written_at)
VALUES ('2025-06-01-1', '2025-06-01', %(n)s, %(n)s * 1000::bigint, 0, 0, '2025-06-01', '2025-06-01');
INSERT INTO fee_charge (subscription_id, customer_reference, period_start, period_end, amount_millimes,
    rules_version, state, state_since, announced_on, charged_on, told_on, told_millimes, file_id, grace_until,
    paid_millimes, paid_on, covered_from, covered_until)
SELECT id, customer_reference, began_on, paid_until, 1000, '2026-1', 'paid', '2025-07-01', '2025-05-01',
    '2025-06-01', '2025-06-01', 1000, 1, '2025-09-30', 1000, '2025-07-01', began_on, paid_until
FROM subscription ORDER BY id;
INSERT INTO fee_entry (charge_id, subscription_id, day, booked_at, debit, credit, amount_millimes, because)
SELECT id, subscription_id, '2025-06-01', '2025-06-01', 'receivable', 'income', 1000, 'charged'
FROM fee_charge ORDER BY id;
INSERT INTO fee_entry (charge_id, subscription_id, day, booked_at, debit, credit, amount_millimes, because)
SELECT id, subscription_id, '2025-07-01', '2025-07-01', 'collected', 'receivable', 1000, 'paid'
FROM fee_charge ORDER BY id;
