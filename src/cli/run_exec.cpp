// `millrace exec -- CMD`: runs a command in which the names of the running platform's Services resolve, by a hosts file
// of its own; and `millrace kubeconfig`'s neighbour in that it reads the platform through its API.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "cli/client_config.h"
#include "cli/commands.h"
#include "cli/listener.h"
#include "http/client.h"
#include "json/parse.h"
#include "services/directory.h"

namespace mr::cli {

namespace {

constexpr const char* kNoNamespaces =
    "this system does not let a program have name lookups of its own (unprivileged user namespaces are off). Allow "
    "them with "
    "`sysctl -w kernel.unprivileged_userns_clone=1` (Debian) or `sysctl -w "
    "kernel.apparmor_restrict_unprivileged_userns=0` "
    "(Ubuntu), or run the command as root, or reach Services with `kubectl port-forward`";

Result<std::vector<kube::ObjectPtr>> list(http::Client& client, const Access& a, std::string_view path) {
  http::ClientRequest rq;
  rq.url = a.server + std::string(path);
  rq.headers.add("Accept", "application/json");
  rq.timeout_s = 10;
  auto answer = client.send(rq);
  if (!answer)
    return fail(Code::unavailable, fmt::format("the platform does not answer at {}: {}. Is `millrace up` running?",
                                               a.server, answer.error().message));
  if (answer->status != 200)
    return fail(Code::unavailable, fmt::format("{} answered {} to {}", a.server, answer->status, path));
  MR_TRY(auto doc, json::parse(answer->body));
  std::vector<kube::ObjectPtr> all;
  if (const auto* items = json::find(doc, "items"); items != nullptr && items->is_array())
    for (const auto& i : items->get_array())
      if (i.is_object()) all.push_back(std::make_shared<const kube::Object>(i.get_object()));
  return all;
}

// This machine's own names, then the cluster's.
Result<std::string> hosts_file(const Access& a) {
  http::Client client(a.tls);
  MR_TRY(auto services, list(client, a, "/api/v1/services"));
  MR_TRY(auto endpoints, list(client, a, "/api/v1/endpoints"));
  std::map<kube::Key, kube::ObjectPtr> by_key;
  for (const auto& e : endpoints) by_key[kube::key_of(*e)] = e;
  services::Directory::Map map;
  for (const auto& s : services) {
    auto key = kube::key_of(*s);
    auto e = by_key.find(key);
    map[key] = services::make_service(s, e == by_key.end() ? nullptr : e->second.get(), {}, {}, nullptr);
  }
  std::string out;
  if (std::ifstream in("/etc/hosts"); in) {
    std::stringstream own;
    own << in.rdbuf();
    out = own.str();
    if (!out.empty() && !out.ends_with('\n')) out += '\n';
  }
  out += "# Services of the running Millrace\n";
  for (const auto& [ip, names] : services::hosts_lines(map, a.ns, {})) out += fmt::format("{}\t{}\n", ip, names);
  return out;
}

bool write_text(const char* path, std::string_view text) {
  Fd fd(::open(path, O_WRONLY | O_CLOEXEC));
  return fd && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

// A mount namespace of this process alone, in a user namespace where that takes one.
Result<> own_mounts() {
  if (::unshare(CLONE_NEWNS) != 0) {
    auto uid = ::getuid();
    auto gid = ::getgid();
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
      return fail(Code::failed_precondition, kNoNamespaces, {}, std::strerror(errno));
    // The same user inside as outside: files keep their owners.
    if (!write_text("/proc/self/setgroups", "deny") ||
        !write_text("/proc/self/uid_map", fmt::format("{} {} 1", uid, uid)) ||
        !write_text("/proc/self/gid_map", fmt::format("{} {} 1", gid, gid)))
      return fail(Code::failed_precondition, kNoNamespaces, {}, std::strerror(errno));
  }
  // What is mounted here stays here.
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return fail(Code::failed_precondition, kNoNamespaces, {}, std::strerror(errno));
  return {};
}

// The file lies in memory only: nothing to clean up when the command has replaced this process.
Result<> put_hosts(const std::string& text) {
  Fd fd(static_cast<int>(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0644)));
  std::string path;
  if (fd) {
    if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
      return fail_errno("cannot write the hosts file", errno);
    path = fmt::format("/proc/self/fd/{}", fd.get());
  }
  if (fd && ::mount(path.c_str(), "/etc/hosts", nullptr, MS_BIND, nullptr) == 0) return {};
  // A file without a name cannot be mounted everywhere.
  char name[] = "/tmp/millrace-hosts-XXXXXX";
  Fd named(::mkostemp(name, O_CLOEXEC));
  if (!named) return fail_errno("cannot make a file in /tmp", errno);
  ::fchmod(named.get(), 0644);
  bool ok = ::write(named.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
            ::mount(name, "/etc/hosts", nullptr, MS_BIND, nullptr) == 0;
  int err = errno;
  ::unlink(name);
  if (!ok)
    return fail(Code::failed_precondition,
                fmt::format("cannot put a hosts file over /etc/hosts: {}", std::strerror(err)));
  return {};
}

}  // namespace

int run_exec(const Settings& s) {
  auto data = std::filesystem::absolute(s.data).string();
  auto kubeconfig = data + "/kubeconfig";
  auto ready = [&]() -> Result<> {
    MR_TRY(auto access, read_access({kubeconfig}));
    MR_TRY(auto hosts, hosts_file(access));
    MR_CHECK(own_mounts());
    return put_hosts(hosts);
  }();
  if (!ready) return report(ready.error());
  ::setenv("KUBECONFIG", kubeconfig.c_str(), 1);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  std::signal(SIGPIPE, SIG_DFL);
  std::vector<char*> argv;
  for (const auto& a : s.exec_command) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  int err = errno;
  fmt::print(stderr, "millrace: cannot run {}: {}\n", s.exec_command[0], std::strerror(err));
  return err == ENOENT ? 127 : 126;  // as a shell says it
}

}  // namespace mr::cli
