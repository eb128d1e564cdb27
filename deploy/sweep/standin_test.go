package sweep_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/cluster"
)

// releasesVariable has the program of the tests stand in for poolhouse-releases.
const releasesVariable = "POOLHOUSE_SWEEP_RELEASES"

// standInProgram is a program that stands in for poolhouse-releases: it speaks its
// protocol and writes to the API in Helm's order, but holds no Helm. That its own
// module sweeps.
func standInProgram(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "releases")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+releasesVariable+"=1 exec '"+self+"'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return name
}

// helmed is the record of a release's revision, a secret as Helm keeps it.
type helmed struct {
	Metadata struct {
		Name, Namespace string
		Labels          map[string]string
	}
}

func (h helmed) version() int {
	n, err := strconv.Atoi(h.Metadata.Labels["version"])
	if err != nil {
		return 0
	}
	return n
}

func (h helmed) path() string {
	return "/api/v1/namespaces/" + h.Metadata.Namespace + "/secrets/" + h.Metadata.Name
}

// helm is a stand-in at work.
type helm struct {
	client *http.Client
	run    string
	out    *json.Encoder
}

// standIn does what a line of its input asks for.
func standIn(in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	// It ends with its input, as the program does.
	go func() {
		_, _ = io.Copy(io.Discard, lines)
		os.Exit(1)
	}()
	var asked struct {
		Operation, Socket, Run string
		Releases               []cluster.Release
	}
	if err := json.Unmarshal(line, &asked); err != nil {
		return err
	}
	h := helm{run: asked.Run, out: json.NewEncoder(out), client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", asked.Socket)
	}}}}
	var done []cluster.Applied
	switch asked.Operation {
	case "apply":
		for i, r := range asked.Releases {
			applied, err := h.apply(i, r)
			if err != nil {
				return err
			}
			done = append(done, applied)
		}
	case "uninstall":
		if done, err = h.uninstall(); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%s is not stood in for", asked.Operation)
	}
	return h.out.Encode(map[string]any{"result": done})
}

// do makes a call, and tells whether its object is there.
func (h helm) do(method, path string, body, out any) (there bool, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return false, err
	}
	req, err := http.NewRequestWithContext(context.Background(), method, "http://kubernetes"+path, bytes.NewReader(text))
	if err != nil {
		return false, err
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return false, err
	}
	answer, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return false, err
	}
	switch {
	case resp.StatusCode == http.StatusNotFound && method != http.MethodPost:
		return false, nil
	case resp.StatusCode >= http.StatusMultipleChoices:
		return false, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	case out == nil:
		return true, nil
	}
	return true, json.Unmarshal(answer, out)
}

// records are those of releases, of one or, if it has no name, of all.
func (h helm) records(name string) ([]helmed, error) {
	var all struct{ Items []helmed }
	if _, err := h.do(http.MethodGet, "/api/v1/secrets?labelSelector=owner%3Dhelm", nil, &all); err != nil {
		return nil, err
	}
	list := slices.DeleteFunc(all.Items, func(r helmed) bool { return name != "" && r.Metadata.Labels["name"] != name })
	slices.SortFunc(list, func(a, b helmed) int { return a.version() - b.version() })
	return list, nil
}

// mark has the record of a revision tell another status.
func (h helm) mark(r helmed, status string) error {
	_, err := h.do(http.MethodPatch, r.path(), map[string]any{"metadata": map[string]any{"labels": map[string]string{"status": status}}}, nil)
	return err
}

// chart are the objects of a release.
func chart(r cluster.Release) []string {
	return []string{
		"/apis/apps/v1/namespaces/" + r.Namespace + "/deployments/" + r.Name,
		"/api/v1/namespaces/" + r.Namespace + "/services/" + r.Name,
	}
}

// apply installs or upgrades a release. A revision that is pending is of a run that
// was killed: it goes.
func (h helm) apply(i int, r cluster.Release) (cluster.Applied, error) {
	list, err := h.records(r.Name)
	if err != nil {
		return cluster.Applied{}, err
	}
	kept := list[:0]
	for _, one := range list {
		if !strings.HasPrefix(one.Metadata.Labels["status"], "pending-") {
			kept = append(kept, one)
			continue
		}
		if _, err := h.do(http.MethodDelete, one.path(), object{}, nil); err != nil {
			return cluster.Applied{}, err
		}
	}
	next, action, status := 1, "installed", "pending-install"
	if len(kept) > 0 {
		last := kept[len(kept)-1]
		if last.Metadata.Labels["status"] == "deployed" && last.Metadata.Labels["values"] == fmt.Sprint(r.Values["version"]) {
			return cluster.Applied{Name: r.Name, Namespace: r.Namespace, Revision: last.version(), Action: "unchanged"}, nil
		}
		next, action, status = last.version()+1, "upgraded", "pending-upgrade"
	}
	if err := h.out.Encode(map[string]any{"event": map[string]string{"release": r.Name, "text": "is being " + action}}); err != nil {
		return cluster.Applied{}, err
	}
	record := helmed{}
	record.Metadata.Namespace, record.Metadata.Name = r.Namespace, fmt.Sprintf("sh.helm.release.v1.%s.v%d", r.Name, next)
	if _, err := h.do(http.MethodPost, "/api/v1/namespaces/"+r.Namespace+"/secrets", object{"metadata": object{"name": record.Metadata.Name, "labels": object{
		"owner": "helm", "name": r.Name, "version": fmt.Sprint(next), "status": status, "poolhouse/order": fmt.Sprintf("%03d", i), "run": h.run, "values": fmt.Sprint(r.Values["version"]),
	}}}, nil); err != nil {
		return cluster.Applied{}, err
	}
	for _, path := range chart(r) {
		there, err := h.do(http.MethodGet, path, nil, nil)
		if err != nil {
			return cluster.Applied{}, err
		}
		folder, name := filepath.Split(path)
		body := object{"metadata": object{"name": name, "annotations": object{"version": fmt.Sprint(r.Values["version"])}}}
		if there {
			_, err = h.do(http.MethodPatch, path, body, nil)
		} else {
			_, err = h.do(http.MethodPost, strings.TrimSuffix(folder, "/"), body, nil)
		}
		if err != nil {
			return cluster.Applied{}, err
		}
	}
	for _, one := range kept {
		if one.Metadata.Labels["status"] == "deployed" {
			if err := h.mark(one, "superseded"); err != nil {
				return cluster.Applied{}, err
			}
		}
	}
	return cluster.Applied{Name: r.Name, Namespace: r.Namespace, Revision: next, Action: action}, h.mark(record, "deployed")
}

// uninstall removes all releases, the last one first.
func (h helm) uninstall() ([]cluster.Applied, error) {
	all, err := h.records("")
	if err != nil {
		return nil, err
	}
	order := func(r helmed) string { return r.Metadata.Labels["poolhouse/order"] }
	slices.SortStableFunc(all, func(a, b helmed) int { return strings.Compare(order(b), order(a)) })
	var done []cluster.Applied
	for _, r := range all {
		if err := h.mark(r, "uninstalling"); err != nil {
			return nil, err
		}
		for _, path := range chart(cluster.Release{Name: r.Metadata.Labels["name"], Namespace: r.Metadata.Namespace}) {
			if _, err := h.do(http.MethodDelete, path, object{}, nil); err != nil {
				return nil, err
			}
		}
		if _, err := h.do(http.MethodDelete, r.path(), object{}, nil); err != nil {
			return nil, err
		}
		done = append(done, cluster.Applied{Name: r.Metadata.Labels["name"], Namespace: r.Metadata.Namespace, Revision: r.version(), Action: "removed"})
	}
	return done, nil
}

type object = map[string]any
