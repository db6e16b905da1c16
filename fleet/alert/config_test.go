package alert

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
)

const goodConfig = `
url: https://assay.example:8443
sinks:
  - name: duty
    webhook:
      url: https://hooks.example/assay
      secret: {file: /etc/assay/hook.secret}
    severity: high
    sites: [ams]
    group: 1m
    remind: 24h
    quiet: {from: "22:00", to: "07:00", zone: Europe/Amsterdam, below: critical}
  - name: am
    alertmanager: {url: "http://127.0.0.1:9093", username: assay, password: {env: AM_PASSWORD}}
  - name: mail
    email: {server: "mx.example.org:587", username: assay, password: {file: pw}, from: assay@example.org, to: [ops@example.org]}
  - name: siem
    syslog: {url: "tls://siem.example:6514", facility: 10}
`

func TestParse(t *testing.T) {
	c, err := Parse([]byte(goodConfig))
	require.NoError(t, err)
	require.Len(t, c.Sinks, 4)
	require.Equal(t, finding.High, *c.Sinks[0].Severity)
	require.Equal(t, time.Minute, *c.Sinks[0].Group)
	h, err := c.Sinks[0].Quiet.parse()
	require.NoError(t, err)
	require.Equal(t, finding.Critical, h.below)
}

func TestParseRefuses(t *testing.T) {
	sink := func(s string) string { return "sinks:\n- name: a\n  " + strings.ReplaceAll(s, "\n", "\n  ") }
	for name, c := range map[string]struct{ text, want string }{
		"nothing":                     {"", "empty"},
		"no sinks":                    {"sinks: []", "nobody would be told"},
		"two documents":               {goodConfig + "---\n{}", "more than one document"},
		"a field that is not known":   {"sinks:\n- name: a\n  webhok: {}", "line 3"},
		"a field twice":               {"sinks: []\nsinks: []", "line 2"},
		"two names that are the same": {"sinks:\n- &s\n  name: a\n  syslog: {url: \"udp://127.0.0.1:1\"}\n- *s", "another sink has this name"},
		"no name":                     {"sinks:\n- syslog: {url: \"udp://127.0.0.1:1\"}", "line 2"},
		"a name that is none":         {"sinks:\n- name: a:refused\n  syslog: {url: \"udp://127.0.0.1:1\"}", "name: want"},
		"no kind":                     {sink(""), "want one of"},
		"two kinds":                   {sink("syslog: {url: \"udp://127.0.0.1:1\"}\nalertmanager: {url: \"https://am.example\"}"), "want one of"},
		"in the clear":                {sink("webhook: {url: \"http://hooks.example/token\", secret: {file: x}}"), "want https:// to another machine"},
		"another scheme":              {sink("webhook: {url: \"file:///etc/passwd\", secret: {file: x}}"), "want https://host"},
		"a password in an address":    {sink("alertmanager: {url: \"https://u:hunter2@am.example\"}"), "no user and no password"},
		"a webhook without a secret":  {sink("webhook: {url: \"https://hooks.example\"}"), "secret: want"},
		"a secret from two places":    {sink("webhook: {url: \"https://hooks.example\", secret: {file: x, env: X}}"), "not both"},
		"a secret in the file":        {sink("webhook: {url: \"https://hooks.example\", secret: hunter2}"), "line 3"},
		"a secret in a wrong field":   {sink("webhook: {url: \"https://hooks.example\", secret: {text: hunter2}}"), "line 3"},
		"a secret in a list":          {sink("webhook: {url: \"https://hooks.example\", secret: {env: [hunter2]}}"), "line 3"},
		"two ways to log in":          {sink("alertmanager: {url: \"https://am.example\", username: a, password: {env: X}, token: {env: Y}}"), "not both"},
		"mail in the clear":           {sink("email: {server: \"mx.example:25\", tls: none, from: a@b.c, to: [a@b.c]}"), "in the clear"},
		"a password in the clear":     {sink("email: {server: \"mx.example:25\", tls: none, insecure: true, username: a, password: {env: X}, from: a@b.c, to: [a@b.c]}"), "in the clear"},
		"an address of two lines":     {sink("email: {server: \"mx.example:25\", from: a@b.c, to: [\"a@b.c\\r\\nBcc: d@e.f\"]}"), "is no address"},
		"nobody to write to":          {sink("email: {server: \"mx.example:25\", from: a@b.c}"), "1 to 50"},
		"a log in the clear":          {sink("syslog: {url: \"tcp://siem.example:601\"}"), "want tls://"},
		"a log without a port":        {sink("syslog: {url: \"tls://siem.example\"}"), "want tls://host:port"},
		"a facility that is none":     {sink("syslog: {url: \"udp://127.0.0.1:1\", facility: 24}"), "0 to 23"},
		"a group of a log":            {sink("syslog: {url: \"udp://127.0.0.1:1\"}\ngroup: 1m"), "group"},
		"quiet hours of a log":        {sink("syslog: {url: \"udp://127.0.0.1:1\"}\nquiet: {from: \"1:00\", to: \"2:00\"}"), "quiet"},
		"hours that are none":         {sink("email: {server: \"mx.example:25\", from: a@b.c, to: [a@b.c]}\nquiet: {from: \"25:00\", to: \"2:00\"}"), "time of the day"},
		"hours that never end":        {sink("email: {server: \"mx.example:25\", from: a@b.c, to: [a@b.c]}\nquiet: {from: \"02:00\", to: \"2:00\"}"), "nothing would ever be told"},
		"a zone that is none":         {sink("email: {server: \"mx.example:25\", from: a@b.c, to: [a@b.c]}\nquiet: {from: \"02:00\", to: \"3:00\", zone: Moon}"), "zone"},
		"a severity that is none":     {sink("syslog: {url: \"udp://127.0.0.1:1\"}\nseverity: loud"), "line 4"},
		"a severity that is too low":  {sink("syslog: {url: \"udp://127.0.0.1:1\"}\nseverity: low"), "nothing below medium"},
		"reminders without a pause":   {sink("syslog: {url: \"udp://127.0.0.1:1\"}\nremind: 1s"), "remind"},
		"pages that are none":         {"url: javascript:alert(1)\n" + sink("syslog: {url: \"udp://127.0.0.1:1\"}"), "url"},
	} {
		_, err := Parse([]byte(c.text))
		require.ErrorContains(t, err, c.want, name)
		require.NotContains(t, err.Error(), "hunter2", name)
		require.NotContains(t, err.Error(), "/token", name)
	}
	_, err := Parse(make([]byte, MaxConfig+1))
	require.ErrorContains(t, err, "more than")
}

// Whatever the file holds, it is refused or it is complete.
func FuzzParse(f *testing.F) {
	f.Add([]byte(goodConfig))
	f.Add([]byte("sinks: [{name: a, syslog: {url: 'udp://127.0.0.1:514'}}]"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("sinks: [{name: a, webhook: {url: 'https://h', secret: {env: X}}, quiet: {from: '23:59', to: '00:00'}}]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b)
		if err != nil {
			return
		}
		require.NotEmpty(t, c.Sinks)
		for _, s := range c.Sinks {
			require.NoError(t, s.check())
		}
	})
}
