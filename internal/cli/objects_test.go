package cli_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// keepingStack has a bucket that outlasts it.
const keepingStack = `Resources:
  Bucket:
    Type: AWS::S3::Bucket
    DeletionPolicy: Retain
    Properties: {BucketName: kept-123456789012}
`

// objectsCLI is the AWS CLI with a sandbox whose objects are in a server of their
// own, and whose account is kept in a folder.
func objectsCLI(t *testing.T, state string) *awsCLI {
	t.Helper()
	if os.Getenv("POOLHOUSE_PLANE_S3") == "" {
		t.Skip("POOLHOUSE_PLANE_S3 names no program: go -C planes/s3 build -o DIR ./poolhouse-plane-s3, then POOLHOUSE_PLANE_S3=DIR/poolhouse-plane-s3")
	}
	c := newAWSCLI(t, "--without", "ecr", "--state", state)
	c.env = append(c.env, "AWS_MAX_ATTEMPTS=6", "AWS_RETRY_MODE=standard")
	if len(c.served.Planes) != 1 || c.served.Planes[0].Name != "s3" {
		t.Fatalf("data planes: %+v", c.served.Planes)
	}
	return c
}

// noise writes a file of a size whose content nobody can guess, and returns its
// hash.
func noise(t *testing.T, path string, size int64) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	_, err = io.CopyN(io.MultiWriter(f, h), rand.NewChaCha8([32]byte{byte(size)}), size)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func hashOf(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// TestAWSCLIObjects has the AWS CLI's s3 commands keep and fetch objects, up to a
// gigabyte, through denials, a killed server and a restart.
func TestAWSCLIObjects(t *testing.T) {
	t.Parallel()
	const size = 1 << 30
	dir := t.TempDir()
	state, big, back := filepath.Join(dir, "state"), filepath.Join(dir, "big"), filepath.Join(dir, "back")
	const url = "s3://data-123456789012/"
	var processes []int
	want := ""
	first := t.Run("first", func(t *testing.T) {
		c := objectsCLI(t, state)
		processes = append(processes, c.served.Planes[0].Process)
		want = noise(t, big, size)
		c.ok("s3", "mb", url)
		c.ok("s3", "cp", "--only-show-errors", big, url+"big")
		c.ok("s3", "cp", "--only-show-errors", url+"big", back)
		if got := hashOf(t, back); got != want {
			t.Errorf("came back as %s, not %s", got, want)
		}
		objectTree(t, c, dir, url)
		objectDenials(t, c, big, url)
		keptObjects(t, c, dir)
		if err := syscall.Kill(c.served.Planes[0].Process, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		c.ok("s3", "cp", "--only-show-errors", url+"big", back)
		if got := hashOf(t, back); got != want {
			t.Errorf("after the server was killed it came back as %s, not %s", got, want)
		}
	})
	if !first {
		return
	}
	t.Run("again", func(t *testing.T) {
		c := objectsCLI(t, state)
		processes = append(processes, c.served.Planes[0].Process)
		c.ok("s3", "cp", "--only-show-errors", url+"big", back)
		if got := hashOf(t, back); got != want {
			t.Errorf("after a restart it came back as %s, not %s", got, want)
		}
		c.ok("s3", "rb", "--force", url)
	})
	for _, p := range processes {
		if err := syscall.Kill(p, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d is left: %v", p, err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(state, "planes", "s3", "data", "poolhouse", "[^.]*")); err != nil || len(left) != 1 {
		t.Errorf("left of the emptied bucket and of the one that was kept: %v, %v", left, err)
	}
}

// objectTree syncs a tree up and down, lists it, signs an URL of it and removes
// from it.
func objectTree(t *testing.T, c *awsCLI, dir, url string) {
	t.Helper()
	tree, copied := filepath.Join(dir, "tree"), filepath.Join(dir, "copied")
	for path, size := range map[string]int64{"a": 1, "a b/ü+&.txt": 100, "d/e/f": 9 << 20} {
		noise(t, filepath.Join(tree, path), size)
	}
	c.ok("s3", "sync", "--only-show-errors", tree, url+"tree")
	c.want("", "s3", "sync", tree, url+"tree")
	c.ok("s3", "sync", "--only-show-errors", url+"tree", copied)
	for _, path := range []string{"a", "a b/ü+&.txt", "d/e/f"} {
		if hashOf(t, filepath.Join(tree, path)) != hashOf(t, filepath.Join(copied, path)) {
			t.Errorf("%s came back otherwise", path)
		}
	}
	if list := c.ok("s3", "ls", "--recursive", url+"tree"); strings.Count(list, "\n") != 2 || !strings.Contains(list, "    9437184 tree/d/e/f") {
		t.Errorf("listed:\n%s", list)
	}
	c.ok("s3", "cp", "--only-show-errors", url+"tree/d/e/f", url+"copy")
	signed := c.ok("s3", "presign", url+"copy")
	text, err := os.ReadFile(filepath.Join(tree, "d/e/f"))
	if err != nil {
		t.Fatal(err)
	}
	for address, status := range map[string]int{signed: http.StatusOK, strings.Replace(signed, "/copy?", "/big?", 1): http.StatusForbidden} {
		resp, err := http.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != status || bytes.Equal(body, text) != (status == http.StatusOK) {
			t.Errorf("%s: %d, %d bytes", address, resp.StatusCode, len(body))
		}
	}
	c.ok("s3", "rm", "--recursive", "--only-show-errors", url+"tree/a b")
	if list := c.ok("s3", "ls", "--recursive", url+"tree"); strings.Count(list, "\n") != 1 {
		t.Errorf("listed after a removal:\n%s", list)
	}
}

// objectDenials has somebody ask who has no rights.
func objectDenials(t *testing.T, c *awsCLI, file, url string) {
	t.Helper()
	c.ok("iam", "create-user", "--user-name", "nobody")
	keys := strings.Fields(c.ok("iam", "create-access-key", "--user-name", "nobody", "--query", "AccessKey.[AccessKeyId,SecretAccessKey]", "--output", "text"))
	nobody := *c
	nobody.env = append(append([]string{}, c.env...), "AWS_ACCESS_KEY_ID="+keys[0], "AWS_SECRET_ACCESS_KEY="+keys[1])
	nobody.refused("(AccessDenied) when calling the CreateMultipartUpload operation: User: arn:aws:iam::123456789012:user/nobody is not authorized to perform: s3:PutObject", "s3", "cp", "--only-show-errors", file, url+"other")
	nobody.refused("(AccessDenied) when calling the ListObjectsV2 operation", "s3", "ls", url)
	nobody.refused("(403) when calling the HeadObject operation: Forbidden", "s3", "cp", "--only-show-errors", url+"big", filepath.Join(t.TempDir(), "x"))
}

// keptObjects deletes a stack whose bucket stays, with what is in it.
func keptObjects(t *testing.T, c *awsCLI, dir string) {
	t.Helper()
	template := filepath.Join(dir, "template.yaml")
	if err := os.WriteFile(template, []byte(keepingStack), 0o600); err != nil {
		t.Fatal(err)
	}
	c.ok("cloudformation", "create-stack", "--stack-name", "keeping", "--template-body", "file://"+template)
	c.ok("cloudformation", "wait", "stack-create-complete", "--stack-name", "keeping")
	c.ok("s3", "cp", "--only-show-errors", template, "s3://kept-123456789012/template.yaml")
	c.ok("cloudformation", "delete-stack", "--stack-name", "keeping")
	c.ok("cloudformation", "wait", "stack-delete-complete", "--stack-name", "keeping")
	c.want(strings.TrimSpace(keepingStack), "s3", "cp", "s3://kept-123456789012/template.yaml", "-")
}
