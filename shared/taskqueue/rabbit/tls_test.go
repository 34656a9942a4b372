package rabbit_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/shared/taskqueue"
	"github.com/tradingflow/weather-station/shared/taskqueue/rabbit"
)

// TestTLS speaks amqps to a TLS end in front of the broker, by URL alone.
func TestTLS(t *testing.T) {
	u, err := url.Parse(broker(t))
	if err != nil {
		t.Fatal("STATION_TEST_RABBITMQ_URL cannot be read")
	}
	certificate, authority := certify(t)
	u.Scheme, u.Host = "amqps", terminate(t, certificate, u.Host)
	u.RawQuery = url.Values{"cacertfile": {authority}}.Encode()
	cfg := rabbit.Config{URL: u.String(), Prefix: "test-" + rand.Text(), Name: "tls"}
	p, a := rabbit.NewPublisher(cfg), rabbit.NewAdmin(cfg)
	start(t, p, a)
	queue := taskqueue.Queue(cfg.Prefix, "default")
	receipt, err := p.Publish(t.Context(), queue, "id", []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resolves(t, receipt, nil)
	for _, q := range []string{queue, taskqueue.Parking(cfg.Prefix)} {
		if err := a.Delete(t.Context(), q); err != nil {
			t.Error(err)
		}
	}
}

// certify makes a certificate for 127.0.0.1 and writes it to a file, to be
// trusted as its own authority.
func certify(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// terminate relays TLS connections to target in the clear; it ends with t.
func terminate(t *testing.T, certificate tls.Certificate, target string) string {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}})
	if err != nil {
		t.Fatal(err)
	}
	var relays sync.WaitGroup
	relays.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				_ = client.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
				relays.Go(func() {
					_, _ = io.Copy(way[0], way[1])
					_ = way[0].Close()
					_ = way[1].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		relays.Wait()
	})
	return listener.Addr().String()
}
