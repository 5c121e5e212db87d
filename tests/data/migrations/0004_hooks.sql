INSERT INTO deliveries VALUES
    ('shop', 'github', '72d3162e-cc78-11e3-81ab-4c9367dc0958', 'push', 1763800000000, 'refs/heads/main',
     'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'),
    ('shop', 'gitlab', 'unnamed-1', 'Push Hook', 1763800000001, NULL, NULL);
