package alert

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
)

// am is an Alertmanager that was started, and the notifications that it sends on.
type am struct {
	t     *testing.T
	url   string
	notes chan note
}

// note is what Alertmanager's own webhook sends (version 4).
type note struct {
	Status string `json:"status"`
	Alerts []struct {
		Status string            `json:"status"`
		Labels map[string]string `json:"labels"`
	} `json:"alerts"`
}

func newAlertmanager(t *testing.T) *am {
	t.Helper()
	program, err := exec.LookPath("prometheus-alertmanager")
	if err != nil {
		t.Skip("needs Alertmanager (Debian package prometheus-alertmanager)")
	}
	a := &am{t: t, notes: make(chan note, 100)}
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var n note
		if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
			t.Error(err)
		}
		a.notes <- n
	}))
	t.Cleanup(hook.Close)
	dir := t.TempDir()
	config := filepath.Join(dir, "alertmanager.yml")
	text := fmt.Sprintf("route: {receiver: test, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}\nreceivers: [{name: test, webhook_configs: [{url: '%s', send_resolved: true}]}]\n", hook.URL)
	require.NoError(t, os.WriteFile(config, []byte(text), 0o600))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	var log bytes.Buffer
	cmd := exec.Command(program, "--config.file", config, "--storage.path", filepath.Join(dir, "data"), "--web.listen-address", address, "--cluster.listen-address=")
	cmd.Stdout, cmd.Stderr = &log, &log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // tells that it was asked to end
		if t.Failed() {
			t.Log(log.String())
		}
	})
	a.url = "http://" + address
	require.Eventually(t, func() bool {
		res, err := http.Get(a.url + "/-/ready")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	}, time.Minute, 50*time.Millisecond, "Alertmanager does not answer")
	return a
}

// active are the severities under which a machine has alerts that stand.
func (a *am) active() (out []string) {
	res, err := http.Get(a.url + "/api/v2/alerts")
	require.NoError(a.t, err)
	defer res.Body.Close()
	var all []struct{ Labels map[string]string }
	require.NoError(a.t, json.NewDecoder(res.Body).Decode(&all))
	for _, x := range all {
		out = append(out, x.Labels["machine"]+" "+x.Labels["severity"])
	}
	return out
}

func (a *am) note() note {
	select {
	case n := <-a.notes:
		return n
	case <-time.After(time.Minute):
		a.t.Fatal("Alertmanager tells nobody")
		return note{}
	}
}

// A real Alertmanager takes what is sent, tells of it once, keeps it until the
// machine is well, and then tells that it is.
func TestAlertmanager(t *testing.T) {
	a := newAlertmanager(t)
	d := newDesk(t, &Config{URL: "https://assay.example", Sinks: []Sink{{Name: "am", Alertmanager: &Alertmanager{URL: a.url}}}})
	d.clock = time.Now().Add(-time.Hour).UTC().Truncate(time.Microsecond)
	tell := func(to fleet.State, judged bool, os ...fleet.Open) {
		d.clock = d.clock.Add(time.Second)
		d.state("1", to, judged, os...)
		require.Empty(t, d.run())
	}
	tell(fleet.Review, true)
	n := a.note()
	require.Equal(t, "firing", n.Status)
	require.Equal(t, map[string]string{"alertname": "AssayMachineNotGood", "severity": "medium", "machine": "1", "name": "node-1", "site": "ams", "profile": "p1"}, n.Alerts[0].Labels)
	tell(fleet.Fail, true, chip)
	ended := map[string]string{}
	for range 2 {
		n = a.note()
		ended[n.Alerts[0].Labels["severity"]] = n.Status
	}
	require.Equal(t, map[string]string{"critical": "firing", "medium": "resolved"}, ended, "it got worse: one alert ends, the other begins")
	tell(fleet.Fail, true, chip)
	d.clock = d.clock.Add(resend)
	_, err := d.reminds(d.store)(t.Context(), fleet.Job{Kind: fleet.Remind})
	require.NoError(t, err)
	require.Empty(t, d.run())
	require.Equal(t, 3, d.count["am sent"], "it was sent again, for an Alertmanager that was started anew")
	require.Equal(t, []string{"1 critical"}, a.active())
	tell(fleet.Pass, true)
	n = a.note()
	require.Equal(t, "resolved", n.Status, "and that is the next thing that is told: %+v", n)
	require.Equal(t, "critical", n.Alerts[0].Labels["severity"])
	require.Empty(t, a.active())
	require.NoError(t, d.store.Update(t.Context(), func(tx fleet.Tx) error {
		return d.Refused(tx, &fleet.Host{Name: "node-2"}, "FL-004: this TPM is known", d.clock)
	}))
	require.Empty(t, d.run())
	require.Equal(t, "AssayEnrolmentRefused", a.note().Alerts[0].Labels["alertname"])
	d.clock = time.Now().UTC()
	_, err = d.Try(t.Context())
	require.NoError(t, err)
	require.Equal(t, "AssayTest", a.note().Alerts[0].Labels["alertname"])
}

func TestAlertmanagerLogsIn(t *testing.T) {
	var got []string
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = append(got, r.URL.Path+" "+r.Header.Get("Authorization"))
	}))
	t.Cleanup(srv.Close)
	for _, c := range []*Alertmanager{{URL: srv.URL + "/am/", Username: "assay", Password: secretFile(t, "pw")}, {URL: srv.URL, Token: secretFile(t, "tok")}} {
		require.NoError(t, c.check())
		s, err := c.open("1.0")
		require.NoError(t, err)
		require.NoError(t, s.send(t.Context(), messageOf("alert-1", failing())))
	}
	require.Equal(t, []string{"/am/api/v2/alerts Basic YXNzYXk6cHc=", "/api/v2/alerts Bearer tok"}, got)
}

// Alerts do not end by themselves: a machine that fails must not look well because
// nobody said anything for some minutes.
func TestAlertsStandUntilTheyEnd(t *testing.T) {
	e := failing()
	e.Also = []finding.Severity{finding.Medium}
	require.Len(t, alertsOf(messageOf("a", e), &e), 2)
	for _, p := range alertsOf(messageOf("a", e), &e) {
		if p.Labels["severity"] == finding.Critical.String() {
			require.True(t, p.EndsAt.Equal(e.At.Add(stands)))
		} else {
			require.False(t, p.EndsAt.After(e.At), "under another severity: %v", p.Labels)
		}
	}
	r := recovered()
	r.Also = e.Also
	for _, p := range alertsOf(messageOf("a", r), &r) {
		require.True(t, p.EndsAt.Equal(r.At))
		require.False(t, p.EndsAt.Before(p.StartsAt))
	}
}
