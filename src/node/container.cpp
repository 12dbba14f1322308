#include "node/container.h"

#include <sys/resource.h>
#include <unistd.h>

#include <csignal>

#include "core/read_file.h"
#include "text/text.h"

extern char** environ;

namespace mr::node {

namespace {

constexpr std::string_view kMark = "MILLRACE_PROBE";

// Names that mean something to the client itself, or that it would read as a pattern.
bool for_client(std::string_view name) {
  for (std::string_view prefix : {"LD_", "XDG_", "DBUS_", "CONTAINERS_", "PODMAN_", "BUILDAH_", "NOTIFY_", "LISTEN_"})
    if (name.starts_with(prefix)) return true;
  for (std::string_view one : {"PATH",
                               "HOME",
                               "USER",
                               "LANG",
                               "TERM",
                               "TZ",
                               "TMPDIR",
                               "HTTP_PROXY",
                               "HTTPS_PROXY",
                               "NO_PROXY",
                               "http_proxy",
                               "https_proxy",
                               "no_proxy",
                               "SSL_CERT_FILE",
                               "SSL_CERT_DIR",
                               "GODEBUG",
                               "GOTRACEBACK",
                               "GOMAXPROCS",
                               "GOGC",
                               "GOMEMLIMIT",
                               "CONTAINER_HOST",
                               "CONTAINER_CONNECTION",
                               "CONTAINER_SSHKEY",
                               "STORAGE_DRIVER",
                               "STORAGE_OPTS",
                               "REGISTRY_AUTH_FILE",
                               "DOCKER_HOST",
                               "DOCKER_CONFIG",
                               "DOCKER_CONTEXT",
                               "DOCKER_CERT_PATH",
                               "DOCKER_TLS",
                               "DOCKER_TLS_VERIFY",
                               "DOCKER_API_VERSION",
                               "DOCKER_CONTENT_TRUST",
                               "DOCKER_DEFAULT_PLATFORM"})
    if (name == one) return true;
  return name.contains('*');
}

std::string limit_of(int resource, rlim_t most) {
  rlimit now{};
  ::getrlimit(resource, &now);
  return fmt::format("{}:{}", std::min(now.rlim_cur, most), std::min(now.rlim_max, most));
}

void add_mount(std::vector<std::string>& a, const Mount& m) {
  auto target = m.target;
  if (m.source.contains(':') || target.contains(':'))
    a.insert(a.end(), {"--mount", fmt::format("type=bind,source={},destination={}{}", m.source, target,
                                              m.read_only ? ",ro=true" : "")});
  else
    a.insert(a.end(), {"--volume", fmt::format("{}:{}{}", m.source, target, m.read_only ? ":ro" : "")});
}

}  // namespace

std::vector<std::string> engine_environment() {
  std::vector<std::string> out;
  for (char** e = environ; *e != nullptr; ++e) {
    std::string_view one(*e);
    auto name = one.substr(0, one.find('='));
    bool wanted = false;
    for (std::string_view prefix : {"XDG_", "DBUS_", "CONTAINER", "DOCKER_", "REGISTRY_", "STORAGE_", "SSL_CERT_"})
      wanted = wanted || name.starts_with(prefix);
    for (std::string_view known : {"PATH", "HOME", "USER", "TMPDIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
                                   "http_proxy", "https_proxy", "no_proxy"})
      wanted = wanted || name == known;
    if (wanted) out.emplace_back(one);
  }
  return out;
}

EngineCommand engine_command(const Engine& e, std::vector<std::string> arguments) {
  EngineCommand c;
  c.argv = {e.program};
  c.argv.insert(c.argv.end(), e.before.begin(), e.before.end());
  std::ranges::move(arguments, std::back_inserter(c.argv));
  c.env = engine_environment();
  return c;
}

EngineCommand create_command(const Engine& e, const ContainerSpec& s) {
  auto c = engine_command(e, {"create"});
  auto& a = c.argv;
  auto add = [&](std::initializer_list<std::string> args) { a.insert(a.end(), args); };
  add({"--name", s.name, "--pull", "never", "--network", "host", "--log-driver", "none", "--no-healthcheck"});
  for (const auto& [k, v] : s.labels) add({"--label", fmt::format("{}={}", k, v)});
  if (e.podman) {
    add({"--http-proxy=false", "--systemd=false"});
    // Those that it would set of itself are more than a user without further rights may have.
    add({"--ulimit", "nofile=" + limit_of(RLIMIT_NOFILE, 1048576), "--ulimit",
         "nproc=" + limit_of(RLIMIT_NPROC, 32768)});
  }
  if (!s.host_name.empty()) add({"--hostname", s.host_name.substr(0, 63)});
  if (!s.hosts_file.empty()) add({"--volume", s.hosts_file + ":/etc/hosts"});
  for (const auto& m : s.mounts) add_mount(a, m);
  for (const auto& [k, v] : s.env) {
    if (k.empty()) continue;
    if (for_client(k)) {
      add({"--env", fmt::format("{}={}", k, v)});
    } else {
      add({"--env", k});
      c.env.push_back(fmt::format("{}={}", k, v));
    }
  }
  if (s.uid)
    add({"--user", s.gid ? fmt::format("{}:{}", *s.uid, *s.gid) : std::to_string(*s.uid)});
  else if (s.gid)
    add({"--user", fmt::format("0:{}", *s.gid)});
  for (auto g : s.groups) add({"--group-add", std::to_string(g)});
  for (const auto& one : s.add_capabilities) add({"--cap-add", one});
  for (const auto& one : s.drop_capabilities) add({"--cap-drop", one});
  if (s.privileged) add({"--privileged"});
  if (s.no_new_privileges) add({"--security-opt", "no-new-privileges"});
  if (s.read_only_root) add({"--read-only"});
  if (s.read_only_root && e.podman) add({"--read-only-tmpfs=false"});
  if (s.host_pid) add({"--pid", "host"});
  if (s.host_ipc) add({"--ipc", "host"});
  if (s.terminal) add({"--tty"});
  if (s.in) add({"--interactive"});
  if (!s.working_dir.empty()) add({"--workdir", s.working_dir});
  if (!s.group.empty()) {
    add({"--cgroup-parent", s.group, "--cgroups", "no-conmon"});
  } else {
    if (s.limits.memory > 0 && e.memory)
      add({"--memory", fmt::format("{}b", s.limits.memory), "--memory-swap", fmt::format("{}b", s.limits.memory)});
    if (s.limits.cpus > 0 && e.cpus)
      add({"--cpu-period", "100000", "--cpu-quota",
           std::to_string(std::max<std::int64_t>(static_cast<std::int64_t>(s.limits.cpus * 100'000), 1000))});
  }
  // A command replaces the image's entry point and its arguments, arguments alone replace the latter.
  if (!s.command.empty()) add({"--entrypoint", s.command.front()});
  add({"--", s.image});
  if (s.command.size() > 1) a.insert(a.end(), s.command.begin() + 1, s.command.end());
  a.insert(a.end(), s.args.begin(), s.args.end());
  return c;
}

EngineCommand start_command(const Engine& e, const std::string& name, bool in) {
  // Its warnings would stand in the container's log.
  std::vector<std::string> args;
  if (e.podman) args = {"--log-level", "fatal"};
  args.insert(args.end(), {"start", "--attach"});
  if (in) args.emplace_back("--interactive");
  args.push_back(name);
  return engine_command(e, std::move(args));
}

EngineCommand exec_command(const Engine& e, const std::string& name, const std::vector<std::string>& command, bool in,
                           bool terminal, const std::string& mark) {
  std::vector<std::string> args{"exec"};
  if (in) args.emplace_back("--interactive");
  if (terminal) args.insert(args.end(), {"--tty", "--env", "TERM=xterm-256color"});
  if (!mark.empty()) args.insert(args.end(), {"--env", fmt::format("{}={}", kMark, mark)});
  args.push_back(name);
  args.insert(args.end(), command.begin(), command.end());
  return engine_command(e, std::move(args));
}

void end_marked(const std::string& mark) {
  const auto wanted = fmt::format("{}={}", kMark, mark);
  std::error_code ec;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ec)) {
    auto pid = text::to_i64(entry.path().filename().string());
    if (!pid) continue;
    auto all = read_or_empty((entry.path() / "environ").string());
    for (auto one : text::split(all, '\0'))
      if (one == wanted) ::kill(static_cast<pid_t>(*pid), SIGKILL);
  }
}

std::string full_image_name(std::string_view image) {
  auto first = image.substr(0, image.find('/'));
  if (first.size() == image.size()) return "docker.io/library/" + std::string(image);
  if (first == "localhost" || first.contains('.') || first.contains(':')) return std::string(image);
  return "docker.io/" + std::string(image);
}

std::string engine_words(std::string_view err) {
  std::string_view last;
  for (auto line : text::split(err, '\n')) {
    line = text::trim(line);
    if (!line.empty() && !line.starts_with("time=\"")) last = line;
  }
  for (std::string_view prefix : {"Error: ", "Error response from daemon: "})
    if (last.starts_with(prefix)) last.remove_prefix(prefix.size());
  return std::string(last.empty() ? text::trim(err) : last);
}

}  // namespace mr::node
