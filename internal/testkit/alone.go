package testkit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// task is the variable that has a process of a test's program do one thing.
const task = "POOLHOUSE_TEST_TASK"

// Main is for TestMain: it runs a package's tests, or, in a process that [Alone] has
// started, does what that was started for.
func Main[T any](m *testing.M, do func(context.Context, T) error) {
	text := os.Getenv(task)
	if text == "" {
		m.Run()
		return
	}
	var v T
	err := json.Unmarshal([]byte(text), &v)
	if err == nil {
		err = do(context.Background(), v)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(Peak())
}

// Alone has a process of its own do with a value, which becomes JSON on the way, what the
// package's [Main] says, and returns how much memory it has had at most, in bytes.
func Alone(ctx context.Context, v any) (peak uint64, err error) {
	text, err := json.Marshal(v)
	if err != nil {
		return 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	c := exec.CommandContext(ctx, self)
	c.Env = append(os.Environ(), task+"="+string(text))
	var stderr bytes.Buffer
	c.Stderr = &stderr
	said, err := c.Output()
	if err != nil {
		return 0, fmt.Errorf("%w: %s", err, &stderr)
	}
	return strconv.ParseUint(string(bytes.TrimSpace(said)), 10, 64)
}
