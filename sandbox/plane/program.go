package plane

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

const top = "github.com/poolhouse/poolhouse"

// Program finds the program of the data plane of a name, "s3": the one that the
// variable POOLHOUSE_PLANE_S3 names, or that of the checkout that the working
// directory is in, or poolhouse-plane-s3 in PATH. A checkout's is built once for
// its sources, into the user's cache; building is told of that, if it isn't nil.
// If there is none, the error says how to get it.
func Program(ctx context.Context, name string, building func(folder string)) (string, error) {
	module, program := "planes/"+name, "poolhouse-plane-"+name
	if path, err := named(program); path != "" || err != nil {
		return path, err
	}
	if path, err := fromCheckout(ctx, module, program, building); path != "" || err != nil {
		return path, err
	}
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	return "", missing(module, program)
}

// Find is [Program] for the program of any module in a folder of the checkout, but
// looks in PATH before it builds anything.
func Find(ctx context.Context, module, program string, building func(folder string)) (string, error) {
	if path, err := named(program); path != "" || err != nil {
		return path, err
	}
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	if path, err := fromCheckout(ctx, module, program, building); path != "" || err != nil {
		return path, err
	}
	return "", missing(module, program)
}

// AtHand is [Find] where nothing is to be built: "" if there is no program yet.
func AtHand(module, program string) (string, error) {
	if path, err := named(program); path != "" || err != nil {
		return path, err
	}
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	folder, ok := checkout(wd, module)
	if !ok {
		return "", nil
	}
	path, err := cached(folder, program)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		return "", nil
	}
	return path, nil
}

// variable is that which names a program: POOLHOUSE_PLANE_S3.
func variable(program string) string {
	return strings.ToUpper(strings.ReplaceAll(program, "-", "_"))
}

// named is the program that its variable names; "" if it names none.
func named(program string) (string, error) {
	variable := variable(program)
	path := os.Getenv(variable)
	if path == "" {
		return "", nil
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find the program that %s names: %w", variable, err)
	}
	return path, nil
}

// fromCheckout is the program of the checkout that the working directory is in; "" if
// it is in none.
func fromCheckout(ctx context.Context, module, program string, building func(folder string)) (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	if folder, ok := checkout(wd, module); ok {
		return built(ctx, folder, program, building)
	}
	return "", nil
}

func missing(module, program string) error {
	return fmt.Errorf("there is no program %s: neither in PATH, nor named by %s, nor in a checkout of poolhouse here; go install %s/%s/%s@latest makes it", program, variable(program), top, module, program)
}

// Found is [Program] where nothing needs to be built; if it does, or if there is
// none, the error says what brings it.
func Found(name string) (string, error) {
	module, program := "planes/"+name, "poolhouse-plane-"+name
	if path, err := named(program); path != "" || err != nil {
		return path, err
	}
	if wd, err := os.Getwd(); err == nil {
		if folder, ok := checkout(wd, module); ok {
			if path, err := cached(folder, program); err == nil {
				if _, err := os.Stat(path); err == nil {
					return path, nil
				}
			}
			return "", fmt.Errorf("%s is not built yet; poolhouse sandbox builds it when it needs it, or go -C %s build -o %s ./%s and %s=%s", program, folder, program, program, variable(program), filepath.Join(folder, program))
		}
	}
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("there is no %s; go install %s/%s/%s@latest brings it", program, top, module, program)
}

// cached is where the program of a module's folder is once it is built.
func cached(folder, program string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	hash, err := fingerprint(folder)
	if err != nil {
		return "", fmt.Errorf("read the sources of %s: %w", program, err)
	}
	return filepath.Join(cache, "poolhouse", "planes", hash, program), nil
}

// Checkout is the top of the checkout of poolhouse that the working directory is in;
// "" if it is in none.
func Checkout() string {
	wd, err := os.Getwd()
	if err != nil {
		return ""
	}
	folder, ok := checkout(wd, ".")
	if !ok {
		return ""
	}
	return folder
}

// checkout is the folder of a module in the checkout that a folder is in.
func checkout(dir, module string) (string, bool) {
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if first, _, _ := strings.Cut(string(text), "\n"); err == nil && strings.TrimSpace(first) == "module "+top {
			folder := filepath.Join(dir, filepath.FromSlash(module))
			_, err := os.Stat(filepath.Join(folder, "go.mod"))
			return folder, err == nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", false
		}
		dir = up
	}
}

// built is the program of a module's folder, in the cache.
func built(ctx context.Context, folder, program string, building func(string)) (string, error) {
	path, err := cached(folder, program)
	if err != nil {
		return "", err
	}
	dir := filepath.Dir(path)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if building != nil {
		building(folder)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// Two may build at once: each moves a whole program into place.
	part, err := os.MkdirTemp(dir, "part-")
	if err != nil {
		return "", err
	}
	c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(part, program), "./"+program)
	c.Dir = folder
	text, err := c.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build %s in %s: %w: %s", program, folder, err, strings.TrimSpace(string(text)))
	} else {
		err = os.Rename(filepath.Join(part, program), path)
	}
	return path, errors.Join(err, os.RemoveAll(part))
}

// fingerprint is a hash of a module's sources and of who compiles them.
func fingerprint(folder string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(folder, path)
		fmt.Fprintf(h, "%s %d\n", name, len(text))
		h.Write(text)
		return err
	})
	return fmt.Sprintf("%x", h.Sum(nil)[:10]), err
}
