package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/client"
	"github.com/assay-hw/assay/fleet/server"
	"github.com/assay-hw/assay/report"
)

func newFleetMachineCommand(env *environment) *cobra.Command {
	return group("machine", "Add machines without an agent, and take machines out",
		"  assay fleet machine add https://192.0.2.10 --name node-9 --site north\n  assay fleet machine retire node-9 --reason sold",
		newFleetMachineAddCommand(env), newFleetMachineRepinCommand(env), newFleetMachineRetireCommand(env))
}

func newFleetMachineAddCommand(env *environment) *cobra.Command {
	var r reach
	var c server.Controller
	cmd := &cobra.Command{
		Use:   "add URL",
		Short: "Add a machine that is asked through its management controller (Redfish)",
		Long: `For machines that allow no agent. The server asks the controller on schedule, with the
name and password that its --controllers file has for the address. What a controller
tells is not signed by a TPM: results are of level L1. Its certificate is remembered at
the first contact, or given with --controller-pin; another one is EV-008, and is not logged in to.`,
		Example: "  assay fleet machine add https://192.0.2.10 --name node-9 --site north",
		Args:    exactly(1),
	}
	cmd.RunE = r.asking(func(ctx context.Context, cl *client.Client, args []string) error {
		c.Address = args[0]
		var h fleet.Host
		if err := cl.Do(ctx, http.MethodPost, "/v1/hosts", nil, c, &h); err != nil {
			return asked(err)
		}
		fmt.Fprintf(env.stdout, "added as %s (%s)\n", h.ID, report.Plain(h.Name))
		return nil
	})
	fs := cmd.Flags()
	r.addFlags(fs)
	fs.StringVar(&c.Name, "name", "", "name for people (default: the controller's host)")
	fs.StringVar(&c.Site, "site", "", "where the machine is")
	fs.StringVar(&c.Lot, "lot", "", "the supplier's lot that it came with")
	fs.StringVar(&c.System, "system", "", "id of the system, where a controller has several")
	fs.StringVar(&c.Pin, "controller-pin", "", "SHA-256 of the controller's certificate")
	return cmd
}

func newFleetMachineRepinCommand(*environment) *cobra.Command {
	var r reach
	var pin string
	cmd := &cobra.Command{
		Use: "repin HOST", Short: "Accept another certificate of a management controller",
		Long:    "After a controller was replaced: its certificate is learned at the next contact, or is the one that --controller-pin names.",
		Example: "  assay fleet machine repin node-9 --controller-pin 5f0c...", Args: exactly(1),
	}
	cmd.RunE = r.asking(func(ctx context.Context, c *client.Client, args []string) error {
		h, err := hostNamed(ctx, c, args[0])
		if err != nil {
			return err
		}
		return asked(c.Do(ctx, http.MethodPost, "/v1/hosts/"+url.PathEscape(h.ID)+"/repin", nil, map[string]string{"pin": pin}, nil))
	})
	r.addFlags(cmd.Flags())
	cmd.Flags().StringVar(&pin, "controller-pin", "", "SHA-256 of the new certificate")
	return cmd
}

func newFleetMachineRetireCommand(*environment) *cobra.Command {
	var r reach
	var reason string
	cmd := &cobra.Command{
		Use: "retire HOST", Short: "Take a machine out of the fleet; its keys are never another machine's",
		Example: "  assay fleet machine retire node-9 --reason 'sold'", Args: exactly(1),
	}
	cmd.RunE = r.asking(func(ctx context.Context, c *client.Client, args []string) error {
		if reason == "" {
			return usage("--reason is needed: it stands in the audit log")
		}
		h, err := hostNamed(ctx, c, args[0])
		if err != nil {
			return err
		}
		return asked(c.Do(ctx, http.MethodPost, "/v1/hosts/"+url.PathEscape(h.ID)+"/retire", nil, map[string]string{"reason": reason}, nil))
	})
	r.addFlags(cmd.Flags())
	cmd.Flags().StringVar(&reason, "reason", "", "why")
	return cmd
}
