package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/api"
	"github.com/assay-hw/assay/fleet/client"
	"github.com/assay-hw/assay/internal/outfile"
	"github.com/assay-hw/assay/report"
)

// asking runs a command that talks to a server.
func (r *reach) asking(f func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := r.client()
		if err != nil {
			return err
		}
		return f(cmd.Context(), c, args)
	}
}

// addListing has a command print what a server lists, as one line of text each or as
// JSON.
func addListing[T any](env *environment, cmd *cobra.Command, get func(ctx context.Context, c *client.Client, args []string) ([]T, error), line func(io.Writer, T)) {
	var r reach
	var out outputOptions
	cmd.RunE = r.asking(func(ctx context.Context, c *client.Client, args []string) error {
		if err := out.check("text", "json"); err != nil {
			return err
		}
		all, err := get(ctx, c, args)
		if err != nil {
			return asked(err)
		}
		var b bytes.Buffer
		if out.format == "json" {
			if err := asJSON(&b, all); err != nil {
				return err
			}
		} else {
			for _, x := range all {
				line(&b, x)
			}
		}
		return out.write(env, b.Bytes())
	})
	r.addFlags(cmd.Flags())
	out.addFlags(cmd.Flags(), "text", "json")
}

// listOf asks for a list.
func listOf[T any](path string) func(context.Context, *client.Client, []string) ([]T, error) {
	return func(ctx context.Context, c *client.Client, _ []string) ([]T, error) {
		all := []T{}
		return all, c.Do(ctx, http.MethodGet, path, nil, nil, &all)
	}
}

// readPassword reads one from a file, from ASSAY_PASSWORD, or from whoever is there.
// A command line is seen by every user of a machine.
func readPassword(env *environment, file, what string) (string, error) {
	if file != "" {
		raw, err := readInput(file, 4096)
		return strings.TrimRight(string(raw), "\r\n"), err
	}
	if p := os.Getenv("ASSAY_PASSWORD"); p != "" {
		return p, nil
	}
	if env.askPIN == nil {
		return "", usage("nobody is there to ask for the password: --password-file or ASSAY_PASSWORD")
	}
	return env.askPIN(what)
}

func newFleetLoginCommand(env *environment) *cobra.Command {
	var r reach
	var file, out string
	cmd := &cobra.Command{
		Use:   "login NAME",
		Short: "Log in, and keep the session for other commands",
		Long: `Asks for the password and writes the session to a file that only you can read. Other
commands take it with --token-file, or its content as ASSAY_TOKEN. It ends after
12 hours.`,
		Example: "  assay fleet login anna -o session\n  assay fleet status --token-file session",
		Args:    exactly(1),
	}
	cmd.RunE = r.asking(func(ctx context.Context, c *client.Client, args []string) error {
		p, err := readPassword(env, file, "password of "+args[0])
		if err != nil {
			return err
		}
		in, err := c.Login(ctx, args[0], p)
		if err != nil {
			return asked(err)
		}
		if out == "-" {
			_, err = fmt.Fprintln(env.stdout, in.Session())
			return err
		}
		return writeSecret(out, in.Session())
	})
	fs := cmd.Flags()
	r.addFlags(fs)
	fs.StringVar(&file, "password-file", "", "file with the password (default: ASSAY_PASSWORD, or it is asked for)")
	fs.StringVarP(&out, "output", "o", "assay-session", "file for the session; - is standard output")
	return cmd
}

func newFleetLogoutCommand() *cobra.Command {
	var r reach
	cmd := &cobra.Command{
		Use: "logout", Short: "End all of your sessions, in browsers too",
		Example: "  assay fleet logout --token-file session", Args: exactly(0),
	}
	cmd.RunE = r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
		return asked(c.Do(ctx, http.MethodPost, "/v1/logout", nil, nil, nil))
	})
	r.addFlags(cmd.Flags())
	return cmd
}

// writeSecret writes a file that only its owner can read.
func writeSecret(path, secret string) error {
	err := outfile.Write(path, 0o600, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, secret)
		return err
	})
	if err != nil {
		return &exitError{exitIO, fmt.Errorf("write %s: %w", path, err)}
	}
	return nil
}

func newFleetPeopleCommand(env *environment) *cobra.Command {
	return group("people", "People and tokens that may use the server",
		"  assay fleet people add nora --role operator\n  assay fleet people list\n  assay fleet people disable token:rack-7",
		newFleetPeopleAddCommand(env), newFleetPeopleListCommand(env), newFleetPeopleVouchCommand(), newFleetPeopleDisableCommand())
}

func newFleetPeopleAddCommand(env *environment) *cobra.Command {
	var r reach
	var file, role string
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a person, or give one another role and password",
		Long: `An approver adds people. A viewer reads; an operator enrols machines, asks for audits
and for exceptions, adds signed documents; an approver grants exceptions that another
person asked for. The password has 12 to 72 characters.

Who gives an account its password can be that account too. Until a third person has
vouched for it (assay fleet people vouch), what the two ask and grant together is in
force, and keeps each machine that it covers in review (PO-003).`,
		Example: "  assay fleet people add nora --role operator --password-file nora.txt",
		Args:    exactly(1),
	}
	cmd.RunE = r.asking(func(ctx context.Context, c *client.Client, args []string) error {
		p, err := readPassword(env, file, "new password of "+args[0])
		if err != nil {
			return err
		}
		return asked(c.Do(ctx, http.MethodPost, "/v1/accounts", nil, api.Person{Name: args[0], Role: fleet.Role(role), Password: p}, nil))
	})
	r.addFlags(cmd.Flags())
	cmd.Flags().StringVar(&role, "role", string(fleet.Viewer), "viewer, operator or approver")
	cmd.Flags().StringVar(&file, "password-file", "", "file with the password (default: ASSAY_PASSWORD, or it is asked for)")
	return cmd
}

func newFleetPeopleListCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List people and tokens", Example: "  assay fleet people list --format json", Args: exactly(0)}
	addListing(env, cmd, listOf[fleet.Account]("/v1/accounts"), func(w io.Writer, a fleet.Account) {
		role, ends := string(a.Role), ""
		if role == "" {
			role = "token"
		}
		if !a.Expires.IsZero() {
			ends = "until " + a.Expires.Format(time.RFC3339)
		}
		if a.Disabled {
			ends = "disabled"
		}
		if a.By != "" && a.Role != "" {
			ends = strings.TrimSpace(ends + " password given by " + report.Plain(a.By) + ", nobody vouched")
		}
		fmt.Fprintf(w, "%-9s %-30s %s\n", role, report.Plain(a.Name), ends)
	})
	return cmd
}

func newFleetPeopleVouchCommand() *cobra.Command {
	var r reach
	cmd := &cobra.Command{
		Use: "vouch NAME", Short: "Say that an account is in the hands of whom it names",
		Long: `An approver vouches for a person whose password somebody else gave. Who gave it cannot,
and whose own password came from that person cannot. It is written to the audit log.`,
		Example: "  assay fleet people vouch nora", Args: exactly(1),
	}
	cmd.RunE = r.asking(func(ctx context.Context, c *client.Client, args []string) error {
		return asked(c.Do(ctx, http.MethodPost, "/v1/accounts/"+url.PathEscape(args[0])+"/vouch", nil, nil, nil))
	})
	r.addFlags(cmd.Flags())
	return cmd
}

func newFleetPeopleDisableCommand() *cobra.Command {
	var r reach
	cmd := &cobra.Command{
		Use: "disable NAME", Short: "End an account or a token at once",
		Example: "  assay fleet people disable token:rack-7", Args: exactly(1),
	}
	cmd.RunE = r.asking(func(ctx context.Context, c *client.Client, args []string) error {
		return asked(c.Do(ctx, http.MethodPost, "/v1/accounts/"+url.PathEscape(args[0])+"/disable", nil, nil, nil))
	})
	r.addFlags(cmd.Flags())
	return cmd
}

func newFleetTokenCommand(env *environment) *cobra.Command {
	var r reach
	var valid time.Duration
	var out string
	cmd := &cobra.Command{
		Use:   "token NAME",
		Short: "Make a token for agents",
		Long: `A token lets machines ask to be enrolled and send evidence. It is no identity and
reads nothing. The server keeps its hash: it is shown once.`,
		Example: "  assay fleet token rack-7 --valid 720h -o rack-7.token",
		Args:    exactly(1),
	}
	cmd.RunE = r.asking(func(ctx context.Context, c *client.Client, args []string) error {
		if valid <= 0 {
			return usage("--valid %s: want more than nothing", valid)
		}
		var made struct {
			Token string `json:"token"`
		}
		in := map[string]any{"name": args[0], "expires": env.now().Add(valid).UTC()}
		if err := c.Do(ctx, http.MethodPost, "/v1/tokens", nil, in, &made); err != nil {
			return asked(err)
		}
		if out == "" || out == "-" {
			_, err := fmt.Fprintln(env.stdout, made.Token)
			return err
		}
		return writeSecret(out, made.Token)
	})
	r.addFlags(cmd.Flags())
	cmd.Flags().DurationVar(&valid, "valid", 90*24*time.Hour, "how long it is good")
	cmd.Flags().StringVarP(&out, "output", "o", "", "file for the token instead of standard output")
	return cmd
}
