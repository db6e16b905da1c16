package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/client"
	"github.com/assay-hw/assay/fleet/ticket"
	"github.com/assay-hw/assay/keystore"
	"github.com/assay-hw/assay/report"
)

func newFleetDocumentsCommand(env *environment) *cobra.Command {
	return group("documents", "What the server judges by: manifests, lists, policies and tickets, each signed",
		"  assay fleet documents add golden.signed.json\n  assay fleet documents list golden",
		newFleetDocumentsAddCommand(env), newFleetDocumentsListCommand(env), newFleetDocumentsRetireCommand(env))
}

func newFleetDocumentsAddCommand(env *environment) *cobra.Command {
	var r reach
	cmd := &cobra.Command{
		Use:   "add FILE...",
		Short: "Give the server signed documents",
		Long: `Takes golden manifests, lists of known-bad firmware and of quirks, and tickets. What nobody trusted
signed is refused, and so is an older version of what is known.`,
		Example: "  assay fleet documents add r1-model.signed.json known-bad.signed.json",
		Args:    cobra.MinimumNArgs(1),
	}
	cmd.RunE = r.asking(func(ctx context.Context, c *client.Client, args []string) error {
		for _, name := range args {
			raw, err := readInput(name, maxManifestBytes)
			if err != nil {
				return err
			}
			var d fleet.Document
			if err := c.Do(ctx, http.MethodPost, "/v1/documents", nil, json.RawMessage(raw), &d); err != nil {
				return asked(fmt.Errorf("%s: %w", name, err))
			}
			fmt.Fprintf(env.stdout, "%s %s version %d, signed by %s\n", d.Kind, report.Plain(d.Name), d.Version, report.Plain(strings.Join(d.Signers, ", ")))
		}
		return nil
	})
	r.addFlags(cmd.Flags())
	return cmd
}

var documentKinds = []string{"golden", "known-bad", "quirks", "policy", "place", "rebind"}

func newFleetDocumentsListCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list [KIND]", Short: "List documents that are in use: " + strings.Join(documentKinds, ", "),
		Example: "  assay fleet documents list golden --format json", Args: cobra.MaximumNArgs(1),
	}
	get := func(ctx context.Context, c *client.Client, kinds []string) ([]fleet.Document, error) {
		if len(kinds) == 0 {
			kinds = documentKinds
		}
		all := []fleet.Document{}
		for _, kind := range kinds {
			ds, err := listOf[fleet.Document]("/v1/documents/"+url.PathEscape(kind))(ctx, c, nil)
			if err != nil {
				return nil, err
			}
			all = append(all, ds...)
		}
		return all, nil
	}
	addListing(env, cmd, get, func(w io.Writer, d fleet.Document) {
		fmt.Fprintf(w, "%-9s %-30s version %-11d %s  %s\n", d.Kind, report.Plain(d.Name), d.Version, d.Digest[:min(len(d.Digest), 12)], report.Plain(strings.Join(d.Signers, ", ")))
	})
	return cmd
}

func newFleetDocumentsRetireCommand(*environment) *cobra.Command {
	var r reach
	cmd := &cobra.Command{
		Use: "retire DIGEST", Short: "Take a document out of use; a policy is only replaced by a newer one",
		Example: "  assay fleet documents retire 5f0c...", Args: exactly(1),
	}
	cmd.RunE = r.asking(func(ctx context.Context, c *client.Client, args []string) error {
		return asked(c.Do(ctx, http.MethodPost, "/v1/documents/"+url.PathEscape(args[0])+"/retire", nil, nil, nil))
	})
	r.addFlags(cmd.Flags())
	return cmd
}

// ticketOptions are the flags that all tickets have.
type ticketOptions struct {
	t         ticket.Ticket
	valid     time.Duration
	key, cert string
	file      string
}

func (o *ticketOptions) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.t.ID, "id", "", "number of the change, as people know it")
	fs.StringVar(&o.t.Reason, "reason", "", "why")
	fs.DurationVar(&o.valid, "valid", 7*24*time.Hour, "how long the server takes it; what it did stays")
	fs.StringVar(&o.key, "key", "", "sign at once with this key; "+keystore.Usage)
	fs.StringVar(&o.cert, "cert", "", "certificate chain of the signer, PEM, signer first")
	fs.StringVarP(&o.file, "output", "o", "", "write to this file instead of standard output")
}

// write makes the ticket, signed when there is a key.
func (o *ticketOptions) write(ctx context.Context, env *environment) error {
	o.t.Format, o.t.IssuedAt = ticket.Format, env.now().UTC().Truncate(time.Second)
	o.t.Expires = o.t.IssuedAt.Add(o.valid)
	raw, err := json.MarshalIndent(o.t, "", "  ")
	if err != nil {
		return err
	}
	if _, err := ticket.Decode(raw); err != nil {
		return usage("%v", err)
	}
	if (o.key == "") != (o.cert == "") {
		return usage("--key and --cert belong together")
	}
	if o.key != "" {
		signer, chain, err := openSigner(ctx, env, o.key, o.cert)
		if err != nil {
			return err
		}
		if raw, err = ticket.Sign(raw, signer, chain); err != nil {
			return unreadable(err)
		}
	} else {
		raw = append(raw, '\n')
	}
	return (&outputOptions{file: o.file}).write(env, raw)
}

func newFleetTicketCommand(env *environment) *cobra.Command {
	return group("ticket", "Write tickets: decisions about machines that somebody signs",
		"  assay fleet ticket rebind node-17 --ek 1c2d... --token-file session --id CHG-17 --reason 'TPM replaced' --key ops.key --cert ops.pem -o ticket.json\n"+
			"  assay fleet documents add ticket.json",
		newFleetTicketRebindCommand(env), newFleetTicketPlaceCommand(env), newFleetTicketPolicyCommand(env))
}

const ticketHelp = `

The ticket is signed with --key, or later with assay golden sign; assay fleet documents
add gives it to the server. Who may sign tickets is said in trust.yaml: a grant with
manufacturers ["*"] and the class ticket, or ticket:KIND.`

func newFleetTicketRebindCommand(env *environment) *cobra.Command {
	var o ticketOptions
	var r reach
	var i ticket.Identity
	cmd := &cobra.Command{
		Use:   "rebind HOST",
		Short: "Bind a known machine to another TPM or another chassis",
		Long: `After a TPM or a main board was replaced the machine is refused (FL-004), until a ticket
says that this machine is to have this endorsement key in this chassis. --ek is the
SHA-256 that the server's refusal shows. The chassis is what the machine will say it
is; without flags about it the server is asked, and it stays what it was.` + ticketHelp,
		Example: "  assay fleet ticket rebind node-17 --ek 1c2d... --token-file session \\\n      --id CHG-17 --reason 'TPM replaced' --key ops.key --cert ops.pem -o ticket.json",
		Args:    exactly(1),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.t.Kind, o.t.Host, o.t.Identity = ticket.Rebind, args[0], &i
		if i.Chassis == (fleet.Chassis{}) {
			c, err := r.client()
			if err != nil {
				return err
			}
			h, err := hostNamed(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			o.t.Host, i.Chassis = h.ID, h.Identity.Chassis
		}
		return o.write(cmd.Context(), env)
	}
	fs := cmd.Flags()
	o.addFlags(fs)
	r.addFlags(fs)
	fs.StringVar(&i.EKSHA256, "ek", "", "SHA-256 of the endorsement key's public key")
	fs.StringVar(&i.Chassis.Manufacturer, "manufacturer", "", "of the chassis, as the machine says it")
	fs.StringVar(&i.Chassis.Product, "product", "", "of the chassis")
	fs.StringVar(&i.Chassis.Serial, "serial", "", "of the chassis")
	fs.StringVar(&i.Chassis.UUID, "uuid", "", "of the chassis")
	return cmd
}

func newFleetTicketPlaceCommand(env *environment) *cobra.Command {
	var o ticketOptions
	cmd := &cobra.Command{
		Use:   "place HOST",
		Short: "Say where a machine stands, and from which networks it speaks",
		Long: `Evidence from elsewhere is FL-003 from then on, and policies of the site are the
machine's.` + ticketHelp,
		Example: "  assay fleet ticket place h-5f0c... --site north --network 192.0.2.0/24 --id CHG-18 --reason 'moved to north' --key ops.key --cert ops.pem -o ticket.json",
		Args:    exactly(1),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.t.Kind, o.t.Host = ticket.Place, args[0]
		return o.write(cmd.Context(), env)
	}
	o.addFlags(cmd.Flags())
	cmd.Flags().StringVar(&o.t.Site, "site", "", "where it stands")
	cmd.Flags().StringArrayVar(&o.t.Networks, "network", nil, "prefix that it speaks from; repeatable")
	return cmd
}

func newFleetTicketPolicyCommand(env *environment) *cobra.Command {
	var o ticketOptions
	cmd := &cobra.Command{
		Use:   "policy FILE",
		Short: "Say by which policy machines are judged",
		Long: `The policy is for one machine, one kind of machine, one site, or all; the most particular
one counts. A newer one replaces it; an older one is refused.` + ticketHelp,
		Example: "  assay fleet ticket policy strict.yaml --site north --id POL-4 --reason 'strict from now on' --key ops.key --cert ops.pem -o ticket.json",
		Args:    exactly(1),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		raw, err := readInput(args[0], ticket.MaxBytes)
		if err != nil {
			return err
		}
		o.t.Kind, o.t.Policy = ticket.Policy, string(raw)
		return o.write(cmd.Context(), env)
	}
	o.addFlags(cmd.Flags())
	cmd.Flags().StringVar(&o.t.Host, "host", "", "for this machine only")
	cmd.Flags().StringVar(&o.t.Profile, "profile", "", "for machines of this kind (assay fleet outliers lists kinds)")
	cmd.Flags().StringVar(&o.t.Site, "site", "", "for machines that a ticket placed at this site")
	return cmd
}
