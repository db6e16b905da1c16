package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/assay-hw/assay/internal/outfile"
)

// tls gives the server's key, and the pin by which agents know it; nothing
// without TLS.
func (o *serveOptions) tls() (*tls.Config, string, error) {
	if (o.cert == "") != (o.key == "") {
		return nil, "", usage("--tls-cert and --tls-key belong together")
	}
	cert, key := o.cert, o.key
	switch {
	case cert != "":
	case o.selfSigned:
		cert, key = filepath.Join(o.data, "server.pem"), filepath.Join(o.data, "server.key")
		if _, err := os.Stat(key); errors.Is(err, os.ErrNotExist) {
			if err := newServerKey(cert, key); err != nil {
				return nil, "", fmt.Errorf("--tls: %w", err)
			}
		}
	default:
		return nil, "", nil
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, "", fmt.Errorf("TLS: %w", err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, "", fmt.Errorf("TLS: %s: %w", cert, err)
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}}, hex.EncodeToString(sum[:]), nil
}

// newServerKey makes a key that agents pin. Its certificate says nothing that
// anybody should believe.
func newServerKey(certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	now := time.Now()
	tpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "assay fleet"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(20, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, &key.PublicKey, key)
	if err != nil {
		return err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	write := func(name, kind string, der []byte) error {
		return outfile.Write(name, 0o600, func(w io.Writer) error { return pem.Encode(w, &pem.Block{Type: kind, Bytes: der}) })
	}
	return errors.Join(write(certFile, "CERTIFICATE", der), write(keyFile, "PRIVATE KEY", raw))
}
