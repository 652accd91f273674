-- A cycle of %(n)s messages that have arrived, two receipts of each, and as many subscriptions: a tenth has ended.

SET LOCAL session_replication_role = replica; -- they begin where they are by now

INSERT INTO cycle (key, purpose, issue_date) VALUES ('2026-05-T1', 'billing', '2026-05-20');
INSERT INTO subscription (customer_reference, phone, language, state, channel, consent_date, began_on, created_at,
    changed_at, ended_at)
SELECT lpad(n::text, 9, '0'), '+2162' || lpad(n::text, 7, '0'), 'ar',
    CASE mod(n, 10) WHEN 0 THEN 'ended' ELSE 'active' END, 'coupon', '2025-05-01', '2025-05-01', '2025-05-01',
    '2026-05-01', CASE mod(n, 10) WHEN 0 THEN TIMESTAMPTZ '2026-05-01' END
FROM generate_series(0, %(n)s - 1) n;
INSERT INTO notice (kind, subject, sequence, cycle_id, subscription_id, district, phone, language, text,
    encoding, segments, priority, send_from, send_until, validity_minutes, planned_at, state, attempts, final_at)
SELECT 'bill', 'F' || id, 1, 1, id, 'TUN1', phone, 'fr', %(text)s, 'gsm7', 1, 50, '2026-05-20', '2026-06-05', 720,
    '2026-05-20', 'delivered', 1, '2026-05-20'
FROM subscription ORDER BY id;
INSERT INTO receipt (gateway, received_at, raw, notice_id, attempt, provider_id, status, detail, happened_at,
    match, matched_at)
SELECT 'fatoura_sms', '2026-05-20', jsonb_build_object('query', 'to=' || phone || '&type=' || told || '&id=' || id),
    id, 1, left(id::text, 8), CASE told WHEN 1 THEN 'delivered' END, '000', '2026-05-20',
    CASE told WHEN 1 THEN 'moved' ELSE 'noted' END, '2026-05-20'
FROM notice CROSS JOIN (VALUES (8), (1)) receipts (told) ORDER BY id, told DESC;
