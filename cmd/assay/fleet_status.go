package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/api"
	"github.com/assay-hw/assay/fleet/client"
	"github.com/assay-hw/assay/report"
)

// fleetStatus is what fleet status prints in JSON.
type fleetStatus struct {
	Counts fleet.Counts `json:"counts"`
	Hosts  []fleet.Host `json:"hosts"`
}

func newFleetStatusCommand(env *environment) *cobra.Command {
	var r reach
	var out outputOptions
	var state string
	var watch bool
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "The fleet in figures, and its machines, the worst first",
		Long:    "Prints how many machines are in which state and lists them. Exits 1 when one fails, 3 when one is stale, in error or inconclusive, 2 when one is for review, 0 when all pass. With --watch it first shows how far an audit run is, until no machine is due any more.",
		Example: "  ASSAY_TOKEN=... assay fleet status\n  assay fleet status --state fail --format json",
		Args:    exactly(0),
	}
	cmd.RunE = func(*cobra.Command, []string) error {
		if err := out.check("text", "json"); err != nil {
			return err
		}
		c, err := r.client()
		if err != nil {
			return err
		}
		ctx := context.Background()
		if watch {
			if err := watchRun(ctx, env, c, out.quiet); err != nil {
				return err
			}
		}
		s := fleetStatus{Hosts: []fleet.Host{}}
		if err := c.Do(ctx, http.MethodGet, "/v1/counts", nil, nil, &s.Counts); err != nil {
			return asked(err)
		}
		q := url.Values{"limit": {"1000"}, "state": {state}}
		for {
			var p api.Page
			if err := c.Do(ctx, http.MethodGet, "/v1/hosts", q, nil, &p); err != nil {
				return asked(err)
			}
			s.Hosts = append(s.Hosts, p.Hosts...)
			if p.After == "" || !out.all && len(s.Hosts) >= 1000 {
				break
			}
			q.Set("after", p.After)
		}
		return s.write(env, &out)
	}
	r.addFlags(cmd.Flags())
	cmd.Flags().StringVar(&state, "state", "", "machines in this state only")
	cmd.Flags().BoolVar(&watch, "watch", false, "show the progress of an audit run first")
	out.addFlags(cmd.Flags(), "text", "json")
	return cmd
}

func (s fleetStatus) write(env *environment, out *outputOptions) error {
	var b bytes.Buffer
	if out.format == "json" {
		if err := asJSON(&b, s); err != nil {
			return err
		}
	} else {
		s.text(&b)
	}
	if err := out.write(env, b.Bytes()); err != nil {
		return err
	}
	return s.exit()
}

// watchRun shows how many machines are due and how many have answered, until none is
// due or somebody ends it.
func watchRun(ctx context.Context, env *environment, c *client.Client, quiet bool) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	var show *progress
	for {
		hosts, err := allHosts(ctx, c, url.Values{})
		if err != nil {
			return err
		}
		hosts = slices.DeleteFunc(hosts, func(h fleet.Host) bool { return h.State == fleet.Retired })
		states, due := map[fleet.State]int64{}, 0
		for _, h := range hosts {
			states[h.State]++
			if !h.NextDue.After(env.now()) {
				due++
			}
		}
		if show == nil {
			show = newProgress(env.stderr, quiet, len(hosts))
		}
		show.at(len(hosts)-due, states)
		if due == 0 {
			show.end()
			return nil
		}
		select {
		case <-time.After(2 * lookEvery):
		case <-ctx.Done():
			show.end()
			return nil
		}
	}
}

func (s fleetStatus) exit() error {
	n := s.Counts.ByState
	switch {
	case n[fleet.Fail] > 0:
		return &exitError{code: 1}
	case n[fleet.Stale]+n[fleet.Error]+n[fleet.Inconclusive]+n[fleet.Enrolled] > 0:
		return &exitError{code: 3}
	case n[fleet.Review] > 0:
		return &exitError{code: 2}
	}
	return nil
}

var worstFirst = []fleet.State{fleet.Fail, fleet.Error, fleet.Stale, fleet.Inconclusive, fleet.Review, fleet.Enrolled, fleet.Pass, fleet.Retired}

func (s fleetStatus) text(w io.Writer) {
	fmt.Fprintf(w, "%d machines", s.Counts.Hosts)
	for _, state := range worstFirst {
		if n := s.Counts.ByState[state]; n > 0 {
			fmt.Fprintf(w, "  %s %d", state, n)
		}
	}
	fmt.Fprintln(w)
	for _, state := range worstFirst {
		for _, h := range s.Hosts {
			if h.State != state {
				continue
			}
			last := "never attested"
			if !h.LastAttested.IsZero() {
				last = "attested " + h.LastAttested.Format(time.RFC3339)
			}
			fmt.Fprintf(w, "%-13s %-24s %-20s %s, %d findings\n", state, report.Plain(h.Name), h.ID[:min(len(h.ID), 20)], last, h.Findings)
		}
	}
}
