package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/api"
	"github.com/assay-hw/assay/fleet/client"
	"github.com/assay-hw/assay/report"
)

// auditRun asks machines for evidence, and follows what becomes of it.
type auditRun struct {
	reach
	state, site string
	all, quiet  bool
	wait        time.Duration
	offline     time.Duration
	env         *environment
	client      *client.Client
	asked       map[string]fleet.Host // by id, as they were before
}

func newFleetAuditCommand(env *environment) *cobra.Command {
	a := &auditRun{env: env, asked: map[string]fleet.Host{}}
	cmd := &cobra.Command{
		Use:   "audit [HOST...]",
		Short: "Ask machines for evidence now, and wait for the results",
		Long: `Asks the named machines (id or name), those in a state or at a site, or all. Agents
that wait hear of it at once. With --wait 0 nothing is waited for. Exits 1 when one of
the machines fails, 3 when one did not answer or could not be judged, 2 when one is for
review, 0 when all pass.

With --offline the command prints a nonce for a machine without a network: scan it with
assay scan --nonce, and bring the bundle with assay fleet import.`,
		Example: "  assay fleet audit node-17 node-18\n  assay fleet audit --state review --wait 10m\n  assay fleet audit node-17 --offline 72h",
	}
	cmd.RunE = a.asking(func(ctx context.Context, c *client.Client, args []string) error {
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
		a.client = c
		return a.run(ctx, args)
	})
	fs := cmd.Flags()
	a.addFlags(fs)
	fs.StringVar(&a.state, "state", "", "machines in this state")
	fs.StringVar(&a.site, "site", "", "machines at this site")
	fs.BoolVar(&a.all, "all", false, "all machines")
	fs.DurationVar(&a.wait, "wait", 10*time.Minute, "how long to wait for results")
	fs.DurationVar(&a.offline, "offline", 0, "print a nonce that is good this long, for evidence that somebody brings")
	fs.BoolVar(&a.quiet, "quiet", false, "no progress")
	return cmd
}

func (a *auditRun) run(ctx context.Context, args []string) error {
	if len(args) == 0 && a.state == "" && a.site == "" && !a.all {
		return usage("name machines, or give --state, --site or --all")
	}
	hosts, err := a.choose(ctx, args)
	if err != nil {
		return err
	}
	if a.offline > 0 {
		return a.nonces(ctx, hosts)
	}
	for _, h := range hosts {
		if err := a.client.Do(ctx, http.MethodPost, "/v1/hosts/"+url.PathEscape(h.ID)+"/audit", nil, nil, nil); err != nil {
			return asked(fmt.Errorf("%s: %w", report.Plain(h.Name), err))
		}
		a.asked[h.ID] = h
	}
	if a.wait <= 0 {
		fmt.Fprintf(a.env.stdout, "%d machines asked\n", len(hosts))
		return nil
	}
	return a.follow(ctx, hosts)
}

// choose finds the machines that are meant. A name that several have is an error.
func (a *auditRun) choose(ctx context.Context, args []string) ([]fleet.Host, error) {
	if len(args) == 0 {
		hosts, err := allHosts(ctx, a.client, url.Values{"state": {a.state}, "site": {a.site}})
		return slices.DeleteFunc(hosts, func(h fleet.Host) bool { return h.State == fleet.Retired }), err
	}
	var out []fleet.Host
	for _, name := range args {
		h, err := hostNamed(ctx, a.client, name)
		if err != nil {
			return nil, err
		}
		out = append(out, *h)
	}
	return out, nil
}

// hostNamed finds a machine by its id or its name.
func hostNamed(ctx context.Context, c *client.Client, name string) (*fleet.Host, error) {
	if strings.HasPrefix(name, "h-") {
		h := &fleet.Host{}
		return h, asked(c.Do(ctx, http.MethodGet, "/v1/hosts/"+url.PathEscape(name), nil, nil, h))
	}
	hosts, err := allHosts(ctx, c, url.Values{"text": {name}})
	if err != nil {
		return nil, err
	}
	hosts = slices.DeleteFunc(hosts, func(h fleet.Host) bool { return h.Name != name || h.State == fleet.Retired })
	if len(hosts) != 1 {
		return nil, usage("%d machines have the name %.100q; give the id that fleet status shows", len(hosts), name)
	}
	return &hosts[0], nil
}

func allHosts(ctx context.Context, c *client.Client, q url.Values) (out []fleet.Host, err error) {
	q.Set("limit", "1000")
	for {
		var p api.Page
		if err := c.Do(ctx, http.MethodGet, "/v1/hosts", q, nil, &p); err != nil {
			return nil, asked(err)
		}
		out = append(out, p.Hosts...)
		if p.After == "" {
			return out, nil
		}
		q.Set("after", p.After)
	}
}

func (a *auditRun) nonces(ctx context.Context, hosts []fleet.Host) error {
	hoursUp := int((a.offline + time.Hour - 1) / time.Hour)
	for _, h := range hosts {
		var c api.Audit
		if err := a.client.Do(ctx, http.MethodPost, "/v1/hosts/"+url.PathEscape(h.ID)+"/challenge", nil, map[string]int{"hours": hoursUp}, &c); err != nil {
			return asked(err)
		}
		fmt.Fprintf(a.env.stdout, "%s %s\n  assay scan --nonce %s -o %s.evidence.zip\n  assay fleet import %s.evidence.zip --host %s   (until %s)\n",
			report.Plain(h.Name), h.ID, c.Nonce, h.ID, h.ID, h.ID, c.Deadline.Format(time.RFC3339))
	}
	return nil
}

// lookEvery is how often results are looked for.
const lookEvery = time.Second

// follow waits for results, and shows how far they are.
func (a *auditRun) follow(ctx context.Context, hosts []fleet.Host) error {
	until := time.After(a.wait)
	waiting := slices.Clone(hosts)
	now := map[string]fleet.Host{}
	show := newProgress(a.env.stderr, a.quiet, len(hosts))
	for {
		fresh, err := a.look(ctx, waiting)
		if err != nil {
			return err
		}
		waiting = slices.DeleteFunc(waiting, func(h fleet.Host) bool {
			f, ok := fresh[h.ID]
			if ok && f.Result != h.Result || ok && f.State == fleet.Error && f.Since != h.Since {
				now[h.ID] = f
				return true
			}
			return false
		})
		show.at(len(now), countOf(now))
		if len(waiting) == 0 {
			break
		}
		select {
		case <-time.After(lookEvery):
			continue
		case <-until:
		case <-ctx.Done():
		}
		break
	}
	show.end()
	return a.conclude(now, waiting)
}

// look reads machines again: each by itself when they are few, all when many.
func (a *auditRun) look(ctx context.Context, waiting []fleet.Host) (map[string]fleet.Host, error) {
	out := map[string]fleet.Host{}
	if len(waiting) > 50 {
		hosts, err := allHosts(ctx, a.client, url.Values{})
		for _, h := range hosts {
			out[h.ID] = h
		}
		return out, err
	}
	for _, w := range waiting {
		var h fleet.Host
		if err := a.client.Do(ctx, http.MethodGet, "/v1/hosts/"+url.PathEscape(w.ID), nil, nil, &h); err != nil {
			return nil, asked(err)
		}
		out[h.ID] = h
	}
	return out, nil
}

func countOf(hosts map[string]fleet.Host) map[fleet.State]int64 {
	out := map[fleet.State]int64{}
	for _, h := range hosts {
		out[h.State]++
	}
	return out
}

// conclude lists what is not good, and what did not answer, which is not good
// either.
func (a *auditRun) conclude(now map[string]fleet.Host, waiting []fleet.Host) error {
	s := fleetStatus{Counts: fleet.Counts{Hosts: int64(len(now)), ByState: countOf(now)}, Hosts: []fleet.Host{}}
	for _, h := range now {
		s.Hosts = append(s.Hosts, h)
	}
	slices.SortFunc(s.Hosts, func(x, y fleet.Host) int { return strings.Compare(x.Name+x.ID, y.Name+y.ID) })
	s.text(a.env.stdout)
	for _, h := range waiting {
		fmt.Fprintf(a.env.stdout, "%-13s %-24s %-20s did not answer\n", "waiting", report.Plain(h.Name), h.ID[:min(len(h.ID), 20)])
	}
	if err := s.exit(); err != nil || len(waiting) == 0 {
		if len(waiting) > 0 && s.Counts.ByState[fleet.Fail] == 0 {
			return &exitError{code: 3}
		}
		return err
	}
	return &exitError{code: 3}
}

// progress shows how many of how many are done: as a bar on a terminal, else as a
// line for each tenth.
type progress struct {
	w     io.Writer
	of    int
	bar   bool
	tenth int
}

func newProgress(w io.Writer, quiet bool, of int) *progress {
	if quiet {
		w = io.Discard
	}
	f, ok := w.(*os.File)
	return &progress{w: w, of: of, bar: ok && term.IsTerminal(int(f.Fd())), tenth: -1}
}

func (p *progress) at(n int, states map[fleet.State]int64) {
	const width = 30
	tenth := 10
	if p.of > 0 {
		tenth = 10 * n / p.of
	}
	text := fmt.Sprintf("%d of %d audited", n, p.of)
	for _, s := range worstFirst {
		if states[s] > 0 && s != fleet.Pass {
			text += fmt.Sprintf(", %d %s", states[s], s)
		}
	}
	switch {
	case p.bar:
		full := width * tenth / 10
		if p.of > 0 {
			full = width * n / p.of
		}
		fmt.Fprintf(p.w, "\r[%s%s] %s\x1b[K", strings.Repeat("#", full), strings.Repeat(".", width-full), text)
	case tenth != p.tenth:
		fmt.Fprintln(p.w, text)
	}
	p.tenth = tenth
}

func (p *progress) end() {
	if p.bar {
		fmt.Fprintln(p.w)
	}
}
