package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/internal/cli/view"
	"github.com/poolhouse/poolhouse/inventory"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/stack"
	"github.com/poolhouse/poolhouse/sandbox/rds"
)

// statusPath is where a sandbox tells what it is. No bucket can have such a name.
const statusPath = "/_poolhouse/status"

// usualEndpoint is where sandboxes are unless they are told otherwise.
const usualEndpoint = "127.0.0.1:4599"

func (a *app) sandboxStatusCommand() *cobra.Command {
	var at string
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what a running sandbox holds and serves",
		Long: "status asks a sandbox that runs in another shell what it holds and serves: the\n" +
			"servers behind it with their processes and addresses, stacks, databases, the\n" +
			"names that lead somewhere, and how to reach all that. It changes nothing.\n\n" +
			"The sandbox is the one at --at, or else at AWS_ENDPOINT_URL, or else at\n" +
			"http://" + usualEndpoint + ". If none answers there, it says so and exits with 1.",
		Example: "  poolhouse sandbox status\n  poolhouse sandbox status --at http://127.0.0.1:4600 --output json",
		Args:    noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if at == "" {
				at = os.Getenv("AWS_ENDPOINT_URL")
			}
			if at == "" {
				at = "http://" + usualEndpoint
			}
			s, err := askStatus(cmd.Context(), at)
			if err != nil {
				return err
			}
			return a.print(s, func() { s.print(a.Out) })
		},
	}
	c.Flags().StringVar(&at, "at", "", "URL of the sandbox (default AWS_ENDPOINT_URL, or http://"+usualEndpoint+")")
	return c
}

// sandboxStatus is what a sandbox says of itself.
type sandboxStatus struct {
	served
	Process int       `json:"process"`
	Started time.Time `json:"started"`
	// Time is the account's.
	Time  time.Time `json:"time"`
	Speed float64   `json:"speed"`
	// Resources is how many there are, of all kinds.
	Resources int              `json:"resources"`
	Stacks    []servedStack    `json:"stacks"`
	Databases []servedDatabase `json:"databases"`
	// Hosts are names that lead somewhere.
	Hosts []string `json:"hosts"`
}

// servedStack is a stack, with the deployment that it belongs to, or "".
type servedStack struct {
	Name       string `json:"name"`
	Status     string `json:"status"`
	Deployment string `json:"deployment,omitempty"`
}

// servedDatabase is a database instance. Address is where its rows are; "" if
// there are none.
type servedDatabase struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	Endpoint string `json:"endpoint,omitempty"`
	Address  string `json:"address,omitempty"`
}

// status tells what is there at this moment.
func (p *playground) status(s served, started time.Time, speed float64) (sandboxStatus, error) {
	out := sandboxStatus{served: s, Process: os.Getpid(), Started: started, Speed: speed, Stacks: []servedStack{}, Databases: []servedDatabase{}, Hosts: p.visit.entrance.Names()}
	out.Planes = p.running()
	rows := p.databases != nil && p.databases.Server() != nil
	err := p.box.Account().Do(func(tx *account.Tx) error {
		tx.Reads()
		out.Time = tx.Now()
		for _, r := range tx.List(stack.Type) {
			if r.Status == "DELETE_COMPLETE" {
				continue
			}
			_, name, _ := strings.Cut(r.ID, ":stack/")
			name, _, _ = strings.Cut(name, "/")
			out.Stacks = append(out.Stacks, servedStack{Name: name, Status: r.Status, Deployment: r.Tags[inventory.Tag]})
		}
		instances, _, err := rds.Served(tx)
		for _, i := range instances {
			d := servedDatabase{ID: i.ID, Endpoint: i.Endpoint}
			if r := tx.Get(rds.TypeInstance, i.ID); r != nil {
				d.Status = r.Status
			}
			if rows && i.Running {
				d.Address = net.JoinHostPort(p.databases.Address(i.Endpoint).String(), fmt.Sprint(i.Port))
			}
			out.Databases = append(out.Databases, d)
		}
		return err
	})
	out.Resources = len(p.box.Account().Resources())
	slices.SortFunc(out.Stacks, func(a, b servedStack) int {
		return strings.Compare(a.Deployment+"\x00"+a.Name, b.Deployment+"\x00"+b.Name)
	})
	return out, err
}

// telling answers at statusPath what a sandbox is, and leaves all else to its
// account. Pages of websites can't ask: they come by another host's name.
func telling(account http.Handler, status func() (sandboxStatus, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != statusPath || !isLoopback(r.Host) {
			account.ServeHTTP(w, r)
			return
		}
		s, err := status()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		// The client may be gone.
		_ = view.JSON(w, s)
	})
}

// isLoopback tells whether a host, with or without a port, is this machine.
func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// askStatus asks the sandbox at a URL.
func askStatus(ctx context.Context, at string) (*sandboxStatus, error) {
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "http" || !isLoopback(u.Host) {
		return nil, hinted{&usageError{fmt.Errorf("%s is no sandbox's: they answer by http on loopback addresses", at)}, "leave AWS_ENDPOINT_URL out, or write --at http://" + usualEndpoint}
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.JoinPath(statusPath).String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}).Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("ask the sandbox at %s: %w", at, err)
		}
		return nil, hinted{fmt.Errorf("no sandbox answers at %s: %s", at, rootOf(err)), "poolhouse sandbox starts one; --at URL names one at another address"}
	}
	// JSON doesn't make what is embedded by a pointer.
	s := sandboxStatus{served: served{visit: &visit{}}}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err = errors.Join(err, resp.Body.Close()); err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil || resp.StatusCode != http.StatusOK || s.Process == 0 {
		return nil, hinted{fmt.Errorf("what answers at %s is no sandbox of this program: it says %s", at, resp.Status), "--at URL names a sandbox at another address"}
	}
	return &s, nil
}

// print says all of it, for people.
func (s *sandboxStatus) print(w io.Writer) {
	fmt.Fprintf(w, "A sandbox of AWS, account %s in %s, answers at %s: process %d since %s, at speed %g.\n", s.Account, s.Region, s.URL, s.Process, s.Started.Local().Format("2006-01-02 15:04:05"), s.Speed)
	fmt.Fprintf(w, "It is %s there, and there are %d resources. ", s.Time.UTC().Format("2006-01-02 15:04:05Z"), s.Resources)
	if s.State != nil {
		fmt.Fprintf(w, "%s keeps the account.\n", s.State.Folder)
	} else {
		fmt.Fprintln(w, "Nothing of it is kept.")
	}
	table := func(title, none string, rows [][]string) {
		if len(rows) == 0 {
			fmt.Fprintf(w, "\n%s\n", none)
			return
		}
		fmt.Fprintf(w, "\n%s\n\n", title)
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, r := range rows {
			fmt.Fprintln(tw, "  "+strings.Join(r, "\t"))
		}
		_ = tw.Flush() // w has taken what came before
	}
	var planes, stacks, databases [][]string
	for _, p := range s.Planes {
		process := fmt.Sprintf("process %d", p.Process)
		if p.Process == 0 {
			process = "being started again"
		}
		var at []string
		for name, address := range p.Addresses {
			at = append(at, name+" "+address)
		}
		slices.Sort(at)
		planes = append(planes, []string{p.Name, process, strings.Join(at, ", ")})
	}
	for _, t := range s.Stacks {
		stacks = append(stacks, []string{t.Name, t.Status, t.Deployment})
	}
	for _, d := range s.Databases {
		at := d.Address
		if at == "" {
			at = "no rows"
		}
		databases = append(databases, []string{d.ID, d.Status, at, d.Endpoint})
	}
	table("Servers behind it:", "No servers are behind it.", planes)
	table("Stacks, with their deployments:", "There are no stacks.", stacks)
	table("Databases:", "There are no databases.", databases)
	if len(s.Hosts) > 0 {
		fmt.Fprintf(w, "\nNames that lead somewhere: %s.\n", strings.Join(s.Hosts, ", "))
	}
	fmt.Fprint(w, "\nTo use it from another shell:\n\n")
	view.Environment(w, s.Endpoint)
	printNames(w, s.Names)
	s.visit.print(w)
}
