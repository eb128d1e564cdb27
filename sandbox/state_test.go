package sandbox

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/graph"
	"github.com/poolhouse/poolhouse/sandbox/state"
)

func kinds(t testing.TB) *graph.Kinds {
	t.Helper()
	ks, err := Kinds()
	if err != nil {
		t.Fatal(err)
	}
	return ks
}

func keep(t testing.TB, dir string, o Options) (*Sandbox, *state.Store) {
	t.Helper()
	store, err := state.Open(dir, kinds(t))
	if err != nil {
		t.Fatal(err)
	}
	box, err := Open(o, store)
	if err != nil {
		t.Fatal(err)
	}
	return box, store
}

// TestStateTypes holds every type of state to what keeping it needs: it is
// registered, and nothing that its values can lead to lives in a process only.
func TestStateTypes(t *testing.T) {
	t.Parallel()
	for _, fault := range kinds(t).Check() {
		t.Errorf("it can't be kept that %s", fault)
	}
	registered := map[string]bool{}
	for _, m := range modules(nil, nil) {
		for _, k := range m.kinds {
			registered[k.Type().String()] = true
		}
	}
	found := 0
	err := filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Name.Name != "CloneState" || fn.Recv == nil {
				continue
			}
			name := f.Name.Name + "."
			switch r := fn.Recv.List[0].Type.(type) {
			case *ast.StarExpr:
				name = "*" + name + r.X.(*ast.Ident).Name
			case *ast.Ident:
				name += r.Name
			}
			found++
			if !registered[name] {
				t.Errorf("%s: %s is state of resources and is not among the kinds of its module in services.go, so it can't be kept", path, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 2 {
		t.Errorf("only %d types of state were found", found)
	}
}

// TestStateHasAllOfTheAccount fails when an account or a resource gets a field
// that keeping it doesn't know of.
func TestStateHasAllOfTheAccount(t *testing.T) {
	t.Parallel()
	fields := func(typ reflect.Type) []string {
		var out []string
		for i := range typ.NumField() {
			out = append(out, typ.Field(i).Name)
		}
		return out
	}
	// mu, model, breaker, keep, watch and begun belong to the process; sorted and
	// indexes are made anew. What is added here must come back by account.Restore.
	want := []string{"mu", "opts", "now", "resources", "sorted", "indexes", "events", "seq", "journal", "model", "breaker", "keep", "watch", "begun"}
	if diff := cmp.Diff(want, fields(reflect.TypeFor[account.Account]())); diff != "" {
		t.Errorf("account.Account has other fields than account.Image keeps, -known +is:\n%s", diff)
	}
	// The rest belongs to the process. Secret follows from the principals, the
	// seed and the id.
	want = []string{"ID", "Region", "Zones", "Now", "Seed", "Fresh", "KubernetesEndpoint", "SessionStream", "IssuerKeys", "TargetHealth", "Body", "Secret", "World", "OnOperation"}
	if diff := cmp.Diff(want, fields(reflect.TypeFor[account.Options]())); diff != "" {
		t.Errorf("account.Options has other fields than account.Image keeps, -known +is:\n%s", diff)
	}
}

// TestStateOutlastsTheProcess ends a sandbox in the middle of what it does and
// opens it again.
func TestStateOutlastsTheProcess(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "deeper", "state")
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	box, store := keep(t, dir, Options{AccountID: "210987654321", Region: "eu-central-1", Seed: 3, Fresh: true, Now: clock})
	var key string
	do := func(b *Sandbox, f func(tx *account.Tx) error) {
		t.Helper()
		if err := b.Account().Do(f); err != nil {
			t.Fatal(err)
		}
	}
	do(box, func(tx *account.Tx) error {
		r, _, err := tx.Create("AWS::KMS::Key", map[string]any{}, "me", true)
		if err != nil {
			return err
		}
		key = r.ID
		tx.Note("test", map[string]any{"x": 1})
		return nil
	})
	now = now.Add(3 * time.Second)
	box.Account().Resources()
	want := dump(t, box)
	// What a process leaves that dies: nothing is closed, and its lock is gone.
	left := t.TempDir()
	if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}

	store2, err := state.Open(left, kinds(t))
	if err != nil {
		t.Fatal(err)
	}
	if m := store2.Found(); m.ID != "210987654321" || m.Region != "eu-central-1" || !m.Reached.Equal(now) {
		t.Errorf("found account %s in %s at %s, want 210987654321 in eu-central-1 at %s", m.ID, m.Region, m.Reached, now)
	}
	// Other options than it has don't count.
	box, err = Open(Options{Region: "us-west-2", Now: clock}, store2)
	if err != nil {
		t.Fatal(err)
	}
	box.Account().Resources()
	if got := dump(t, box); got != want {
		t.Errorf("the account is not as it was:\n%s", cmp.Diff(want, got))
	}
	if box.Region() != "eu-central-1" {
		t.Errorf("it answers for %s", box.Region())
	}
	// The key is made as it would have been.
	now = now.Add(time.Hour)
	do(box, func(tx *account.Tx) error {
		if len(tx.Noted("test")) != 1 {
			t.Error("the journal was lost")
		}
		if r := tx.Get("AWS::KMS::Key", key); r == nil {
			t.Error("the key was lost")
		}
		return nil
	})
	if err := store2.Close(); err != nil {
		t.Error(err)
	}
}

func dump(t testing.TB, box *Sandbox) string {
	t.Helper()
	var out string
	err := box.Account().Image(func(m *account.Image) error {
		e := graph.NewEncoder(kinds(t))
		b, err := e.Append(nil, m)
		out = string(e.Definitions()) + string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestStateIsWhole cuts a file at every byte after its image, as a process that
// dies while it writes does, and finds the account as it was after one of the
// requests.
func TestStateIsWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	box, store := keep(t, dir, Options{Fresh: true, Now: func() time.Time { return now }})
	file := filepath.Join(dir, "account-000001")
	read := func() []byte {
		t.Helper()
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	image := len(read())
	after := map[int]string{image: dump(t, box)}
	for i := range 4 {
		now = now.Add(time.Second)
		err := box.Account().Do(func(tx *account.Tx) error {
			_, _, err := tx.Create("AWS::SSM::Parameter", map[string]any{"Name": fmt.Sprintf("/a%d", i), "Type": "String", "Value": "x"}, "me", true)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		after[len(read())] = dump(t, box)
	}
	all := read()
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if len(after) != 5 {
		t.Fatalf("four requests left %d records", len(after)-1)
	}
	want := ""
	for n := image; n <= len(all); n++ {
		whole := after[n] != ""
		if whole {
			want = after[n]
		}
		m, dropped, err := state.Read(all[:n], kinds(t))
		if err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		if dropped == whole {
			t.Errorf("cut at %d: dropped is %v", n, dropped)
		}
		e := graph.NewEncoder(kinds(t))
		b, err := e.Append(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		if string(e.Definitions())+string(b) != want {
			t.Fatalf("cut at %d: the account is not that of a request", n)
		}
	}
	// An image has a name only when it is complete.
	for _, n := range []int{0, 10, 30, image / 2, image - 1} {
		if _, _, err := state.Read(all[:n], kinds(t)); err == nil {
			t.Errorf("an image that is cut at %d is taken", n)
		}
	}
	// What was changed is refused, or, at the very end, dropped.
	for n := range all {
		bad := bytes.Clone(all)
		bad[n] ^= 0x20
		m, dropped, err := state.Read(bad, kinds(t))
		if err == nil && !dropped {
			t.Fatalf("byte %d was changed, and it is taken", n)
		}
		if err == nil && len(m.Resources) == 0 {
			t.Fatalf("byte %d was changed, and all is lost", n)
		}
	}
}

// TestStateRefuses says what is wrong and what to do.
func TestStateRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		prepare func(t *testing.T, dir string)
		want    []string
	}{
		"in use": {func(t *testing.T, dir string) {
			_, store := keep(t, dir, Options{})
			t.Cleanup(func() {
				if err := store.Close(); err != nil {
					t.Error(err)
				}
			})
		}, []string{fmt.Sprintf("in use by the process %d", os.Getpid()), "use another folder"}},
		"other version": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "account-000007"), "poolhouse sandbox state 2\nxxxx")
		}, []string{"account-000007", `its format is version "2", and this program reads version "1"`, "use the version of the program that wrote it"}},
		"damaged": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "account-000001"), "poolhouse sandbox state 1\n"+strings.Repeat("x", 50))
		}, []string{"record 1: its content is damaged", "put back a copy of the folder"}},
		"empty": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "account-000001"), "")
		}, []string{"doesn't begin as a state file does"}},
		"something else": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "thesis.doc"), "x")
		}, []string{"it holds thesis.doc, which is no part of a state; use a folder of its own"}},
		"a file": {func(t *testing.T, dir string) {
			if err := os.Remove(dir); err != nil {
				t.Fatal(err)
			}
			write(t, dir, "x")
		}, []string{"keep state in"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "state")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			tc.prepare(t, dir)
			_, err := state.Open(dir, kinds(t))
			if err == nil {
				t.Fatal("it is taken")
			}
			for _, w := range append(tc.want, dir) {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q doesn't say %q", err, w)
				}
			}
		})
	}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestStateIsPrivate holds files to their owner, and leaves one only.
func TestStateIsPrivate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	for range 3 {
		_, store := keep(t, dir, Options{})
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "account-000004.new"), "an image that was never finished")
	_, store := keep(t, dir, Options{})
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		i, err := e.Info()
		got = append(got, e.Name()+" "+i.Mode().String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"state drwx------", "account-000004 -rw-------", "lock -rw-------"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestStateThatCannotBeWritten refuses the request, and all after it, rather
// than answer what would be lost.
func TestStateThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	box, store := keep(t, t.TempDir(), Options{})
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		err := box.Account().Do(func(tx *account.Tx) error {
			tx.HexID(1)
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), "the account can't be kept") || !strings.Contains(err.Error(), "start the sandbox again") {
			t.Errorf("got %v", err)
		}
	}
}

// TestStateIsRenewed writes so much that the file is replaced, and finds
// everything in the new one.
func TestStateIsRenewed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	box, store := keep(t, dir, Options{Now: func() time.Time { return now }})
	for i := range 40 {
		err := box.Account().Do(func(tx *account.Tx) error {
			tx.Put(&account.Resource{Type: "test", ID: "x", Data: map[string]any{"n": i, "fill": strings.Repeat("x", 1<<20)}})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	want := dump(t, box)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "account-*"))
	if err != nil || len(files) != 1 || filepath.Base(files[0]) == "account-000001" {
		t.Fatalf("files %v (%v), want one that is not the first", files, err)
	}
	box, store = keep(t, dir, Options{Now: func() time.Time { return now }})
	if dump(t, box) != want {
		t.Error("the account is not as it was")
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkKeep is what keeping costs a request that changes one thing, in an
// account of a thousand, and, as "look", one that only reads.
func BenchmarkKeep(b *testing.B) {
	for _, kept := range []bool{false, true} {
		for _, what := range []string{"change", "look"} {
			b.Run(fmt.Sprintf("kept=%v/%s", kept, what), func(b *testing.B) {
				box := New(Options{Fresh: true})
				if kept {
					var store *state.Store
					box, store = keep(b, b.TempDir(), Options{Fresh: true})
					defer func() {
						if err := store.Close(); err != nil {
							b.Error(err)
						}
					}()
				}
				do := func(f func(tx *account.Tx) error) {
					if err := box.Account().Do(f); err != nil {
						b.Fatal(err)
					}
				}
				do(func(tx *account.Tx) error {
					for i := range 1000 {
						tx.Put(&account.Resource{Type: "test", ID: fmt.Sprint(i), Data: map[string]any{"x": "y"}, Tags: map[string]string{"a": "b"}})
					}
					return nil
				})
				for b.Loop() {
					do(func(tx *account.Tx) error {
						if what == "look" {
							tx.Reads()
							tx.List("test")
							return nil
						}
						tx.Get("test", "7").Status = tx.HexID(8)
						return nil
					})
				}
			})
		}
	}
}

// TestNothingIsLeftBehind runs a sandbox without state in an empty folder.
func TestNothingIsLeftBehind(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("TMPDIR", dir)
	t.Setenv("HOME", dir)
	box := New(Options{})
	plant(t, box)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("it left %v (%v)", entries, err)
	}
}
