package alert

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"

	"github.com/wneessen/go-mail"
)

// email sends plain text. Addresses come from the configuration alone.
type email struct {
	conf     *Email
	host     string
	port     int
	password string
	tls      *tls.Config
}

func (e *Email) open() (sender, error) {
	host, port, err := net.SplitHostPort(e.Server)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	out := &email{conf: e, host: host}
	if out.port, err = strconv.Atoi(port); err != nil {
		return nil, fmt.Errorf("server: port %.10q is no number", port)
	}
	if out.password, err = e.Password.read(); err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	pool, err := roots(e.CAFile)
	if err != nil {
		return nil, fmt.Errorf("ca-file: %w", err)
	}
	out.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, RootCAs: pool}
	return out, nil
}

func (e *email) send(ctx context.Context, m *message) error {
	msg, err := e.compose(m)
	if err != nil {
		return err
	}
	opts := []mail.Option{mail.WithPort(e.port), mail.WithTimeout(answerTime), mail.WithTLSConfig(e.tls)}
	switch e.conf.TLS {
	case "tls":
		opts = append(opts, mail.WithSSL())
	case "none":
		opts = append(opts, mail.WithTLSPolicy(mail.NoTLS))
	default:
		opts = append(opts, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	if e.conf.Username != "" {
		opts = append(opts, mail.WithSMTPAuth(mail.SMTPAuthPlain), mail.WithUsername(e.conf.Username), mail.WithPassword(e.password))
	}
	// The library keeps a connection open that failed before mail was sent, and each
	// answer gives the server more time: this one ends with the attempt.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	opts = append(opts, mail.WithDialContextFunc(func(dialing context.Context, network, address string) (net.Conn, error) {
		conn, err := e.dial(dialing, network, address)
		if err == nil {
			context.AfterFunc(ctx, func() { _ = conn.Close() }) // it was closed if mail was sent
		}
		return conn, err
	}))
	c, err := mail.NewClient(e.host, opts...)
	if err != nil {
		return err
	}
	return c.DialAndSendWithContext(ctx, msg)
}

func (e *email) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if e.conf.TLS == "tls" {
		return (&tls.Dialer{Config: e.tls}).DialContext(ctx, network, address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

func (e *email) compose(m *message) (*mail.Msg, error) {
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := msg.From(e.conf.From); err != nil {
		return nil, err
	}
	if err := msg.To(e.conf.To...); err != nil {
		return nil, err
	}
	msg.Subject(clean("[assay] "+m.severity().String()+": "+m.title(), 200))
	msg.SetMessageIDWithValue(m.id + "@assay.invalid") // the same when it is sent again
	msg.SetDateWithValue(m.events[0].At)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834, 5
	msg.SetBodyString(mail.TypeTextPlain, m.text())
	return msg, nil
}
