package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/client"
	"github.com/assay-hw/assay/report"
)

func newFleetExceptionCommand(env *environment) *cobra.Command {
	return group("exception", "Accept a finding for a while: one person asks, another one grants",
		"  assay fleet exception ask HW-001 pci:0000:01:00.0 --host node-17 --for 720h --reason 'card under test'\n  assay fleet exception approve x-5f0c...",
		newFleetExceptionAskCommand(env), newFleetExceptionApproveCommand(env), newFleetExceptionListCommand(env))
}

func newFleetExceptionAskCommand(env *environment) *cobra.Command {
	var r reach
	var x fleet.Exception
	var host string
	var valid time.Duration
	cmd := &cobra.Command{
		Use: "ask CODE SUBJECT", Short: "Ask for a finding to be accepted on one machine, or on all of a kind",
		Example: "  assay fleet exception ask HW-001 pci:0000:01:00.0 --host node-17 --for 720h --reason 'card under test'", Args: exactly(2),
	}
	cmd.RunE = r.asking(func(ctx context.Context, c *client.Client, args []string) error {
		x.Code, x.Subject, x.Expires = finding.Code(args[0]), args[1], env.now().Add(valid).UTC()
		if host != "" {
			h, err := hostNamed(ctx, c, host)
			if err != nil {
				return err
			}
			x.Host = h.ID
		}
		var out fleet.Exception
		if err := c.Do(ctx, http.MethodPost, "/v1/exceptions", nil, x, &out); err != nil {
			return asked(err)
		}
		fmt.Fprintf(env.stdout, "%s asked for, until %s; another person grants it: assay fleet exception approve %s\n", out.ID, out.Expires.Format(time.RFC3339), out.ID)
		return nil
	})
	fs := cmd.Flags()
	r.addFlags(fs)
	fs.StringVar(&host, "host", "", "machine, by id or name")
	fs.StringVar(&x.Profile, "profile", "", "kind of machine")
	fs.StringVar(&x.Reason, "reason", "", "why")
	fs.DurationVar(&valid, "for", 30*24*time.Hour, "how long, at most 180 days")
	return cmd
}

func newFleetExceptionApproveCommand(*environment) *cobra.Command {
	var r reach
	cmd := &cobra.Command{Use: "approve ID", Short: "Grant what another person asked for", Example: "  assay fleet exception approve x-5f0c...", Args: exactly(1)}
	cmd.RunE = r.asking(func(ctx context.Context, c *client.Client, args []string) error {
		return asked(c.Do(ctx, http.MethodPost, "/v1/exceptions/"+url.PathEscape(args[0])+"/approve", nil, nil, nil))
	})
	r.addFlags(cmd.Flags())
	return cmd
}

func newFleetExceptionListCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List exceptions, those that expire first first", Example: "  assay fleet exception list", Args: exactly(0)}
	addListing(env, cmd, listOf[fleet.Exception]("/v1/exceptions"), func(w io.Writer, x fleet.Exception) {
		state := "asked for by " + x.Asked
		switch {
		case !env.now().Before(x.Expires):
			state = "expired"
		case x.Approved != "":
			state = "granted by " + x.Approved
		}
		fmt.Fprintf(w, "%s  %s %s on %s until %s, %s: %s\n", x.ID, x.Code, report.Plain(x.Subject), report.Plain(x.Host+x.Profile), x.Expires.Format(time.RFC3339), report.Plain(state), report.Plain(x.Reason))
	})
	return cmd
}
