#include <sys/statvfs.h>

#include <cstdlib>

#include "cli/commands.h"
#include "cli/listener.h"
#include "node/container.h"
#include "sql/sql.h"

namespace mr::cli {

namespace fs = std::filesystem;

int run_version() {
  fmt::print(
      "millrace {}\n  compiler   clang {}\n  MLflow API 3.18.0, database revision f4a9b2c7d1e6 (opens dc11669786a5)\n",
      MILLRACE_VERSION, __clang_version__);
  return 0;
}

std::string find_mlflow_ui(const Settings& s) {
  std::error_code ec;
  auto usable = [&](const fs::path& p) { return fs::is_regular_file(p / "index.html", ec); };
  if (!s.mlflow_ui.empty()) return usable(s.mlflow_ui) ? s.mlflow_ui : std::string();
  std::vector<fs::path> roots;
  if (const char* venv = std::getenv("VIRTUAL_ENV"); venv != nullptr) roots.emplace_back(venv);
  if (const char* path = std::getenv("PATH"); path != nullptr) {
    std::string_view rest = path;
    while (!rest.empty()) {
      auto colon = rest.find(':');
      fs::path bin(rest.substr(0, colon));
      if (fs::exists(bin / "python3", ec)) roots.push_back(bin.parent_path());
      rest = colon == std::string_view::npos ? std::string_view{} : rest.substr(colon + 1);
    }
  }
  for (const auto& root : roots) {
    for (const char* lib : {"lib", "lib/python3", "local/lib"}) {
      for (fs::directory_iterator it(root / lib, ec), end; !ec && it != end; it.increment(ec)) {
        for (const char* packages : {"site-packages", "dist-packages"}) {
          auto ui = it->path() / packages / "mlflow" / "server" / "js" / "build";
          if (usable(ui)) return ui.string();
        }
      }
      ec.clear();
    }
  }
  return {};
}

namespace {

struct Finding {
  bool good;
  std::string what;
  std::string advice;
};

void print(const Finding& f) {
  fmt::print("  {}  {}\n", f.good ? "ok  " : "look", f.what);
  if (!f.good) fmt::print("        {}\n", f.advice);
}

}  // namespace

int run_doctor(const Settings& s) {
  std::vector<Finding> found;
  std::error_code ec;
  fs::path data(s.data);
  fs::path existing = data;
  while (!existing.empty() && !fs::exists(existing, ec) && existing != existing.parent_path())
    existing = existing.parent_path();
  struct statvfs vfs{};
  if (::statvfs(existing.c_str(), &vfs) == 0) {
    double free_gb = static_cast<double>(vfs.f_bavail) * static_cast<double>(vfs.f_frsize) / 1e9;
    found.push_back({free_gb > 2, fmt::format("disk: {:.1f} GB free at {}", free_gb, existing.string()),
                     "free some space, or choose another folder with --data"});
  }
  bool writable = ::access(existing.c_str(), W_OK) == 0;
  found.push_back({writable,
                   fmt::format("data folder {} {}", data.string(), fs::exists(data, ec) ? "exists" : "will be made"),
                   fmt::format("no right to write below {}; choose another folder with --data", existing.string())});
  auto ui = find_mlflow_ui(s);
  found.push_back({!ui.empty(), ui.empty() ? "MLflow's web UI was not found" : "MLflow's web UI: " + ui,
                   "install the mlflow package in the active Python environment, or start with --mlflow-ui PATH; the "
                   "API works without it"});
  auto database = s.data + "/millrace.db";
  if (fs::exists(database, ec)) {
    std::string verdict = "unreadable";
    if (auto c = sql::Connection::open_sqlite(database, true)) {
      if (auto r = (*c)->query("PRAGMA quick_check(1)", "s", {}, [&](const sql::Row& row) { verdict = row.text(0); });
          !r)
        verdict = r.error().detail;
    }
    found.push_back({verdict == "ok", "database check: " + verdict, "restore a backup of " + database});
  }
  if (s.container_engine != "none") {
    // Nothing needs one but images that no process stands for: its absence is no fault.
    auto engine = node::find_engine(s.container_engine);
    const bool wanted = s.container_engine != "auto";
    found.push_back({engine.has_value() || !wanted,
                     engine ? fmt::format("containers: {} {} runs images that no process of this machine stands for",
                                          engine->name(), engine->version)
                            : "containers: no engine, so images other than python, debian and the like are refused; " +
                                  engine.error().message,
                     "install it, or start without --container-engine"});
  }
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  found.push_back({cores >= 1, fmt::format("{} processor cores", cores), ""});
  bool all = true;
  for (const auto& f : found) {
    print(f);
    all = all && f.good;
  }
  fmt::print("{}\n", all ? "everything is fine" : "see the advice above");
  return all ? 0 : 1;
}

int run_kubeconfig(const Settings& s) {
  auto path = std::filesystem::absolute(s.data + "/kubeconfig").lexically_normal().string();
  std::error_code ec;
  if (!std::filesystem::exists(path, ec))
    return report(Error{Code::failed_precondition,
                        fmt::format("there is no kubeconfig in {}: start the platform once with 'millrace up' (and the "
                                    "same --data)",
                                    s.data),
                        {},
                        {}});
  fmt::print("{}\n", path);
  return 0;
}

int run_containers_guard(const Settings& s) {
  node::guard_containers(s.guard_engine, s.guard_label, s.guard_prefix, 0);
  return 0;
}

int run_completion(const Settings& s) {
  const char* commands =
      "up tracking serve run pipeline lineage model get describe apply delete logs port-forward kubeconfig exec "
      "version "
      "doctor completion";
  if (s.shell == "bash") {
    fmt::print(R"sh(_millrace() {{
  local cur="${{COMP_WORDS[COMP_CWORD]}}" cmd="${{COMP_WORDS[1]}}"
  if [ "$COMP_CWORD" -eq 1 ]; then COMPREPLY=($(compgen -W "{0}" -- "$cur")); return; fi
  if [ "$cmd" = pipeline ] && [ "$COMP_CWORD" -eq 2 ]; then COMPREPLY=($(compgen -W "list show lint" -- "$cur")); return; fi
  if [ "$cmd" = model ] && [ "$COMP_CWORD" -eq 2 ]; then COMPREPLY=($(compgen -W "explain predict" -- "$cur")); return; fi
  case "$cur" in
    -*) COMPREPLY=($(compgen -W "$(millrace "$cmd" --help 2>/dev/null | grep -oE -- '--[a-z0-9-]+' | sort -u)" -- "$cur")) ;;
    *) COMPREPLY=($(compgen -f -- "$cur")) ;;
  esac
}}
complete -F _millrace millrace
)sh",
               commands);
  } else {
    fmt::print(R"sh(#compdef millrace
_millrace() {{
  if (( CURRENT == 2 )); then compadd {0}; return; fi
  if [[ $words[2] == pipeline ]] && (( CURRENT == 3 )); then compadd list show lint; return; fi
  if [[ $words[2] == model ]] && (( CURRENT == 3 )); then compadd explain predict; return; fi
  if [[ $PREFIX == -* ]]; then compadd -- ${{(f)"$(millrace $words[2] --help 2>/dev/null | grep -oE -- '--[a-z0-9-]+' | sort -u)"}}; else _files; fi
}}
compdef _millrace millrace
)sh",
               commands);
  }
  return 0;
}

}  // namespace mr::cli
