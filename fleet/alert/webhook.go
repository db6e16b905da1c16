package alert

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// webhook signs as Standard Webhooks 1.0.0 says, so that existing libraries verify
// it. The id is the same each time a message is sent, the time is that of the
// attempt.
type webhook struct {
	*poster
	key []byte
}

// The specification wants keys of 24 to 64 bytes.
const (
	leastKey = 24
	mostKey  = 64
)

func (w *Webhook) open(version string) (sender, error) {
	secret, err := w.Secret.read()
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	text, ok := strings.CutPrefix(secret, "whsec_")
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < leastKey || len(key) > mostKey {
		return nil, errors.New(`secret: want whsec_ and base64 of 24 to 64 bytes, as from: echo "whsec_$(openssl rand -base64 32)"`)
	}
	p, err := newPoster(w.URL, w.CAFile, version)
	if err != nil {
		return nil, err
	}
	return &webhook{p, key}, nil
}

// payload is what a webhook posts.
type payload struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      data      `json:"data"`
}

type data struct {
	Title  string  `json:"title"`
	Total  int     `json:"total"`  // how many it is about
	Events []Event `json:"events"` // the first of them
	URL    string  `json:"url,omitempty"`
}

func (w *webhook) send(ctx context.Context, m *message) error {
	first := m.events[0]
	events := slices.Clone(m.events[:min(len(m.events), listed)])
	for i := range events {
		events[i].Also = nil // what other sinks need
	}
	body, err := json.Marshal(payload{"assay.fleet." + string(first.Kind), first.At, data{m.title(), m.total, events, m.url}})
	if err != nil {
		return err
	}
	at := strconv.FormatInt(m.sent.Unix(), 10)
	h := http.Header{}
	h.Set("webhook-id", m.id)
	h.Set("webhook-timestamp", at)
	h.Set("webhook-signature", "v1,"+w.sign(m.id, at, body))
	return w.post(ctx, body, h)
}

func (w *webhook) sign(id, at string, body []byte) string {
	mac := hmac.New(sha256.New, w.key)
	mac.Write([]byte(id + "." + at + "."))
	mac.Write(body)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
