INSERT INTO votes VALUES (1, 'ben', 1, 'approve', 1800000210000, '', 'mail', 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA',
    '-----BEGIN SSH SIGNATURE-----');
