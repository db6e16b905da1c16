package alert

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/assay-hw/assay/finding"
)

// syslog sends RFC 5424 messages: over UDP one in a datagram (RFC 5426), over TCP
// and TLS with their length before them (RFC 6587, 3.4.1; RFC 5425).
type syslog struct {
	network, address string
	tls              *tls.Config // nil without TLS
	facility         int
	host, version    string
}

const (
	logAudit    = 13
	maxDatagram = 2048 // what receivers should take (RFC 5426, 3.2)
)

func (s *Syslog) open(version string) (sender, error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	out := &syslog{network: u.Scheme, address: u.Host, facility: logAudit, version: version, host: "-"}
	if s.Facility != nil {
		out.facility = *s.Facility
	}
	if u.Scheme == "tls" {
		pool, err := roots(s.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca-file: %w", err)
		}
		out.network, out.tls = "tcp", &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname(), RootCAs: pool}
	}
	if h, err := os.Hostname(); err == nil && h != "" {
		out.host = printable(h, 255)
	}
	return out, nil
}

// printable is a header field: printable ASCII without blanks (RFC 5424, 6).
func printable(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(len(s), most)]
}

func (s *syslog) send(ctx context.Context, m *message) (err error) {
	d := net.Dialer{Timeout: answerTime}
	conn, err := d.DialContext(ctx, s.network, s.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline := time.Now().Add(attemptTime)
	if t, ok := ctx.Deadline(); ok {
		deadline = t
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	if s.tls != nil {
		c := tls.Client(conn, s.tls)
		if err := c.HandshakeContext(ctx); err != nil {
			return err
		}
		conn = c
	}
	for i := range m.events {
		line, err := s.line(m, m.events[i])
		if err != nil {
			return err
		}
		if s.network != "udp" {
			line = append([]byte(strconv.Itoa(len(line))+" "), line...)
		}
		if _, err := conn.Write(line); err != nil {
			return err
		}
	}
	if s.network == "udp" {
		return nil // nobody answers
	}
	return finish(conn)
}

// lingering is how long a receiver may take to close its end.
const lingering = 2 * time.Second

// finish ends what is sent, and sees whether the receiver was there to take it: it
// closes its end, or says nothing, but does not break the connection.
func finish(conn net.Conn) error {
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		if err := c.CloseWrite(); err != nil {
			return err
		}
	}
	if err := conn.SetReadDeadline(time.Now().Add(lingering)); err != nil {
		return err
	}
	_, err := io.CopyN(io.Discard, conn, maxAnswer)
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// line is one message. In a datagram it names as many findings as it has room for.
func (s *syslog) line(m *message, e Event) ([]byte, error) {
	for {
		text, err := json.Marshal(ocsf(m, &e, s.version))
		if err != nil {
			return nil, err
		}
		line := append([]byte(s.header(&e)), ascii(text)...)
		if s.network != "udp" || len(line) <= maxDatagram || len(e.Findings) == 0 {
			return line, nil
		}
		e.Findings = e.Findings[:len(e.Findings)-1]
		e.More++
	}
}

// header is that of RFC 5424, 6. There is no structured data; the text has it all.
func (s *syslog) header(e *Event) string {
	level := map[finding.Severity]int{finding.Critical: 2, finding.High: 3, finding.Medium: 4, finding.Low: 5, finding.Info: 6}[e.Severity]
	if e.Kind == Recovered {
		level = 5
	}
	return fmt.Sprintf("<%d>1 %s %s assay %d %s - ", s.facility*8+level, e.At.UTC().Format("2006-01-02T15:04:05.000000Z"), s.host, os.Getpid(), printable(string(e.Kind), 32))
}

// ascii writes JSON without other characters, so that no receiver has to guess how
// they are encoded.
func ascii(text []byte) []byte {
	var b bytes.Buffer
	for _, r := range string(text) {
		switch {
		case r < 0x80:
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		}
	}
	return b.Bytes()
}
