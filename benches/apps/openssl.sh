# group: integer
# Digests and ciphers over 8 MiB of zeros, and RSA key generation's prime search.
. "${0%/*}/prelude.sh"
export OPENSSL_CONF=/dev/null
head -c 8388608 /dev/zero >zeros
for digest in sha256 sha512 md5 sha3-256; do run usr/bin/openssl dgst -r -$digest zeros; done
for cipher in aes-128-cbc chacha20; do
    run usr/bin/openssl enc -$cipher -K 000102030405060708090a0b0c0d0e0f -iv 00 -in zeros 2>/dev/null | run usr/bin/openssl dgst -r -sha1
done
run usr/bin/openssl prime -checks 20 -hex FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD
