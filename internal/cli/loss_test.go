package cli_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/cli"
	"github.com/poolhouse/poolhouse/internal/clock"
)

// TestL04CreateAfterAKilledDelete kills the process of a delete once the database
// goes into its last snapshot. Create waits until it is gone and refuses, in the
// command as in the library: it names what is lost, the snapshot and the way on,
// which leads there.
func TestL04CreateAfterAKilledDelete(t *testing.T) {
	const speed, file = 3000, "../../examples/evaluation.yaml"
	useSandbox(t, "--speed", "3000", "--fresh", "--for", file)
	t.Setenv(speedVariable, "3000")
	run := func(args ...string) (int, string) {
		t.Helper()
		var out, errs bytes.Buffer
		code := cli.Run(t.Context(), args, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &errs, Clock: clock.NewScaled(speed)})
		// Long lines are folded.
		return code, strings.Join(strings.Fields(out.String()+errs.String()), " ")
	}
	if code, said := run("create", "--yes", file); code != cli.Done {
		t.Fatalf("create: exit code %d: %s", code, said)
	}
	deletion := exec.Command("poolhouse", "delete", "--yes", "--data", "snapshot", file)
	errs := watch("its data goes into snapshot")
	deletion.Stdout, deletion.Stderr = io.Discard, errs
	if err := deletion.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-errs.seen:
	case <-time.After(time.Minute):
		t.Errorf("the delete did not come to the database:\n%s", errs)
	}
	if err := deletion.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = deletion.Wait()
	clients, err := awsapi.New(t.Context(), awsapi.Options{
		Region: "us-east-1", Endpoint: os.Getenv("AWS_ENDPOINT_URL"),
		Credentials: credentials.NewStaticCredentialsProvider(os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	found, err := clients.RDS.DescribeDBSnapshots(t.Context(), &rds.DescribeDBSnapshotsInput{SnapshotType: aws.String("manual")})
	if err != nil || len(found.DBSnapshots) != 1 {
		t.Fatalf("last snapshots: %+v, %v", found, err)
	}
	last := aws.ToString(found.DBSnapshots[0].DBSnapshotIdentifier)
	for _, flags := range [][]string{nil, {"--allow-replace"}} {
		code, said := run(append([]string{"create", "--yes", file}, flags...)...)
		if code != cli.Usage {
			t.Errorf("create %v: exit code %d, want %d", flags, code, cli.Usage)
		}
		for _, want := range []string{
			"database poolside is gone", "its last snapshot is " + last, "would make it again empty",
			"poolhouse delete " + file + " --data snapshot; then write " + last + ", and poolhouse create " + file,
		} {
			if !strings.Contains(said, want) {
				t.Errorf("create %v does not say %q:\n%s", flags, want, said)
			}
		}
		for _, wrong := range []string{"Stands, with its data, and is gone on from: keys, storage, database", "is complete"} {
			if strings.Contains(said, wrong) {
				t.Errorf("create %v says %q:\n%s", flags, wrong, said)
			}
		}
	}
	if code, said := run("delete", "--yes", "--data", "snapshot", file); code != cli.Done || !strings.Contains(said, last) {
		t.Errorf("the way on, delete: exit code %d: %s", code, said)
	}
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	restored := t.TempDir() + "/deployment.yaml"
	if !bytes.Contains(src, []byte("\ndatabase:\n")) {
		src = append(src, []byte("\ndatabase:\n")...)
	}
	src = bytes.Replace(src, []byte("\ndatabase:\n"), []byte("\ndatabase:\n  snapshot: "+last+"\n"), 1)
	if err := os.WriteFile(restored, src, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, said := run("plan", restored); code != cli.Done || !strings.Contains(said, "restored from snapshot "+last) {
		t.Errorf("the way on, plan: exit code %d: %s", code, said)
	}
}
