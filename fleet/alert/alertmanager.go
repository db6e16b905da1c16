package alert

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/assay-hw/assay/finding"
)

// alertmanager posts to Alertmanager's API v2. An alert is its labels: they stay the
// same while a machine is not good, but for the severity: when that is another one,
// the alert under the one before ends.
type alertmanager struct {
	*poster
	auth string
}

func (a *Alertmanager) open(version string) (sender, error) {
	p, err := newPoster(strings.TrimSuffix(a.URL, "/")+"/api/v2/alerts", a.CAFile, version)
	if err != nil {
		return nil, err
	}
	out := &alertmanager{poster: p}
	switch {
	case a.Username != "":
		password, err := a.Password.read()
		if err != nil {
			return nil, fmt.Errorf("password: %w", err)
		}
		out.auth = "Basic " + base64.StdEncoding.EncodeToString([]byte(a.Username+":"+password))
	case a.Token != Secret{}:
		token, err := a.Token.read()
		if err != nil {
			return nil, fmt.Errorf("token: %w", err)
		}
		out.auth = "Bearer " + token
	}
	return out, nil
}

// posted is one alert as Alertmanager's OpenAPI names it (postableAlert).
type posted struct {
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	Labels       map[string]string `json:"labels"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

// Without an end Alertmanager ends an alert by itself after minutes, and a machine
// that fails would look well. What is not good ends when it is good.
const stands = 366 * 24 * time.Hour

func (a *alertmanager) send(ctx context.Context, m *message) error {
	var all []posted
	for i := range m.events {
		all = append(all, alertsOf(m, &m.events[i])...)
	}
	body, err := json.Marshal(all)
	if err != nil {
		return err
	}
	h := http.Header{}
	if a.auth != "" {
		h.Set("Authorization", a.auth)
	}
	return a.post(ctx, body, h)
}

func alertsOf(m *message, e *Event) []posted {
	p := posted{
		StartsAt: e.Since, EndsAt: e.At.Add(stands), GeneratorURL: m.link(e), Labels: labels(e, e.Severity),
		Annotations: map[string]string{"summary": e.line(), "description": (&message{events: []Event{*e}, total: 1}).text(), "state": string(e.State)},
	}
	switch e.Kind {
	case Refused:
		p.EndsAt = e.At.Add(remember)
		return []posted{p}
	case Test:
		p.EndsAt = e.At.Add(5 * time.Minute)
		return []posted{p}
	}
	if e.Kind == Recovered {
		p.EndsAt = e.At
	}
	out := []posted{p}
	for _, s := range e.Also { // only what began: another clock could take the end for later
		q := p
		q.Labels, q.EndsAt = labels(e, s), e.At
		out = append(out, q)
	}
	return out
}

func labels(e *Event, s finding.Severity) map[string]string {
	out := map[string]string{"alertname": "AssayMachineNotGood", "severity": s.String(), "machine": e.Subject, "name": e.Name}
	switch e.Kind {
	case Refused:
		out["alertname"] = "AssayEnrolmentRefused"
	case Test:
		out["alertname"] = "AssayTest"
	}
	for k, v := range map[string]string{"site": e.Site, "profile": e.Profile, "board": e.Board} {
		if v != "" { // a label without a value is none
			out[k] = v
		}
	}
	return out
}
