package releases

import (
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"testing"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const setup = `apiVersion: batch/v1
kind: Job
metadata: {name: setup}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: main, image: setup}]}
`

// Why a container is restarted is what it said before.
func TestNotReadyAgain(t *testing.T) {
	t.Parallel()
	got := notReady(&core.Pod{Status: core.PodStatus{Phase: core.PodRunning, ContainerStatuses: []core.ContainerStatus{{
		Name:                 "main",
		State:                core.ContainerState{Waiting: &core.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off 10s"}},
		LastTerminationState: core.ContainerState{Terminated: &core.ContainerStateTerminated{ExitCode: 2, Message: "no database"}},
	}}}})
	if want := "container main waits, CrashLoopBackOff: back-off 10s; it ended with code 2 before: no database"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Why a job failed is told with what its container said last; its pods are none of those
// that a release has.
func TestDiagnoseJob(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "api")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	api := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var list core.PodList
		list.APIVersion, list.Kind = "v1", "PodList"
		if r.URL.Path == "/api/v1/namespaces/acme/pods" && r.URL.Query().Get("labelSelector") == "batch.kubernetes.io/job-name=setup" {
			list.Items = []core.Pod{{ObjectMeta: meta.ObjectMeta{Namespace: "acme", Name: "setup-1"}, Status: core.PodStatus{Phase: core.PodFailed, ContainerStatuses: []core.ContainerStatus{{
				Name: "main", State: core.ContainerState{Terminated: &core.ContainerStateTerminated{ExitCode: 1, Reason: "Error", Message: "the secret has no password"}},
			}}}}}
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(list); err != nil {
			t.Error(err)
		}
	})}
	ended := make(chan error, 1)
	go func() { ended <- api.Serve(l) }()
	t.Cleanup(func() {
		if err := api.Close(); err != nil {
			t.Error(err)
		}
		<-ended
	})
	s := &session{Request: Request{Socket: socket}}
	if got, want := s.diagnose(t.Context(), "acme", setup), []string{"pod acme/setup-1: container main ended with code 1, Error: the secret has no password"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, all, _, err := s.pods(t.Context(), "acme", setup, false); err != nil || all != 0 {
		t.Errorf("%d pods, %v", all, err)
	}
}
