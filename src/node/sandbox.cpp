#include "node/sandbox.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <mutex>

#include "crypto/random.h"
#include "task/pool.h"

namespace mr::node {

namespace fs = std::filesystem;

namespace {

std::string program(std::string_view name) {
  for (std::string_view folder : {"/usr/bin", "/bin", "/usr/local/bin"}) {
    auto path = fmt::format("{}/{}", folder, name);
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return {};
}

// Runs a short command and tells whether it ended well.
bool works(const std::vector<std::string>& command) {
  std::vector<char*> argv;
  for (const auto& c : command) argv.push_back(const_cast<char*>(c.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (int fd : {0, 1, 2}) posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
  pid_t pid = 0;
  char* no_env[] = {nullptr};
  int rc = ::posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), no_env);
  posix_spawn_file_actions_destroy(&actions);
  int status = 1;
  return rc == 0 && ::waitpid(pid, &status, 0) == pid && status == 0;
}

bool write_file(const std::string& path, std::string_view text, int mode = 0644) {
  Fd fd(::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, static_cast<mode_t>(mode)));
  if (!fd) return false;
  return ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

// What the dynamic loader looks at is meant for the command inside, not for the program that takes it there.
bool for_loader(std::string_view name) { return name.starts_with("LD_"); }

// A Python's own /usr/local: a virtual environment that begins with pip alone, so that what the pod installs is
// its own and goes with it.
Result<void> make_python(const Interpreter& python, const std::string& local) {
  auto site = fmt::format("{}/lib/python3.{}/site-packages", local, python.minor);
  std::error_code ec;
  fs::create_directories(site, ec);
  fs::create_directories(local + "/bin", ec);
  if (ec) return fail(Code::internal, fmt::format("{}: {}", local, ec.message()));
  for (const auto& name : {std::string("python"), std::string("python3"), fmt::format("python3.{}", python.minor)})
    if (::symlink(python.path.c_str(), (local + "/bin/" + name).c_str()) != 0 && errno != EEXIST)
      return fail_errno(local, errno);
  write_file(local + "/pyvenv.cfg", fmt::format("home = {}\ninclude-system-site-packages = false\nversion = 3.{}\n",
                                                fs::path(python.path).parent_path().string(), python.minor));
  if (python.packages.empty()) return {};
  for (fs::directory_iterator it(python.packages, ec), end; !ec && it != end; it.increment(ec)) {
    auto name = it->path().filename().string();
    for (std::string_view wanted : {"pip", "setuptools", "wheel", "pkg_resources", "_distutils_hack"})
      if (name == wanted || (name.starts_with(wanted) && name.substr(wanted.size()).starts_with("-")))
        if (::symlink(it->path().c_str(), (site + "/" + name).c_str()) != 0 && errno != EEXIST)
          return fail_errno(site, errno);
  }
  constexpr std::string_view kPip =
      "#!/usr/local/bin/python\nimport sys\n\nfrom pip._internal.cli.main import main\n\nsys.exit(main())\n";
  for (const auto& name : {std::string("pip"), std::string("pip3"), fmt::format("pip3.{}", python.minor)})
    write_file(local + "/bin/" + name, kPip, 0755);
  return {};
}

}  // namespace

Result<std::string> find_bubblewrap() {
  static std::mutex mutex;
  static std::string found;
  std::lock_guard lock(mutex);
  if (!found.empty()) return found;
  auto path = program("bwrap");
  if (path.empty())
    return fail(Code::unavailable,
                "process pods run under bubblewrap, which is not on this machine: install the package bubblewrap",
                "ErrImagePull");
  if (!works({path, "--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev",
              "/bin/true"}))
    return fail(Code::unavailable,
                "bubblewrap is installed but may not make user namespaces here: allow them (sysctl "
                "kernel.unprivileged_userns_clone=1, or an AppArmor profile for bwrap)",
                "ErrImagePull");
  found = path;
  return found;
}

Result<void> make_container_folder(const SandboxSpec& s) {
  std::error_code ec;
  if (fs::exists(s.folder, ec)) {
    // Large ones (installed packages) are dropped beside the way of the start.
    auto old = s.folder + ".old-" + crypto::random_hex(4);
    if (::rename(s.folder.c_str(), old.c_str()) == 0)
      (void)task::disk_pool().submit([old] {
        std::error_code ignored;
        fs::remove_all(old, ignored);
      });
  }
  for (auto part : {"local/bin", "root", "tmp"}) fs::create_directories(s.folder + "/" + part, ec);
  if (ec) return fail(Code::internal, fmt::format("{}: {}", s.folder, ec.message()));
  ::chmod((s.folder + "/tmp").c_str(), 01777);
  write_file(s.folder + "/termination-log", "");
  if (s.image.kind == Image::Kind::python) MR_CHECK(make_python(s.image.python, s.folder + "/local"));
  if (!s.env_folder.empty()) {
    // The made environment's packages come after the pod's own.
    auto site = fmt::format("{}/local/lib/python3.{}/site-packages", s.folder, s.image.python.minor);
    write_file(site + "/millrace-environment.pth",
               fmt::format("import site; site.addsitedir('{}/lib/python3.{}/site-packages')\n", s.env_folder,
                           s.image.python.minor));
  }
  return {};
}

Result<void> make_etc(const std::string& etc, const std::string& host_name, long uid, long gid) {
  std::error_code ec;
  fs::create_directories(etc, ec);
  std::string passwd = "root:x:0:0:root:/root:/bin/sh\n";
  std::string group = "root:x:0:\n";
  if (uid != 0) passwd += fmt::format("user:x:{}:{}::/root:/bin/sh\n", uid, gid);
  if (gid != 0) group += fmt::format("user:x:{}:\n", gid);
  passwd += "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
  group += "nogroup:x:65534:\n";
  if (!write_file(etc + "/passwd", passwd) || !write_file(etc + "/group", group) ||
      !write_file(etc + "/hostname", host_name + "\n"))
    return fail_errno(etc, errno);
  return {};
}

void write_hosts(const std::string& etc, const std::string& pod_ip, const std::string& host_name,
                 const std::vector<std::pair<std::string, std::string>>& lines, const kube::Array& aliases) {
  std::string text = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n";
  text += fmt::format("{}\t{}\n", pod_ip, host_name);
  for (const auto& [ip, names] : lines) text += fmt::format("{}\t{}\n", ip, names);
  for (const auto& a : aliases) {
    if (!a.is_object()) continue;
    std::string names;
    for (const auto& n : kube::array_at(a.get_object(), "hostnames"))
      if (n.is_string()) names += "\t" + std::string(n.get_string());
    text += std::string(kube::text_at(a.get_object(), "ip")) + names + "\n";
  }
  // In place: the sandboxes hold this very file.
  write_file(etc + "/hosts", text);
}

Result<SandboxCommand> sandbox_command(const SandboxSpec& s, const std::string& bubblewrap) {
  SandboxCommand out;
  auto& a = out.argv;
  auto add = [&](std::initializer_list<std::string> args) { a.insert(a.end(), args); };
  a = {bubblewrap,      "--die-with-parent",   "--unshare-user", "--unshare-pid",
       "--unshare-ipc", "--unshare-uts",       "--uid",          std::to_string(s.uid),
       "--gid",         std::to_string(s.gid), "--hostname",     s.host_name.substr(0, 63)};
  // Without these the process could mount the machine's folders anew and writable.
  add({"--cap-drop", "ALL"});
  if (s.uid == 0)
    for (auto cap :
         {"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"})
      add({"--cap-add", cap});
  if (s.no_network) add({"--unshare-net"});
  if (s.status_fd >= 0) add({"--json-status-fd", std::to_string(s.status_fd)});
  add({"--ro-bind", "/usr", "/usr"});
  if (std::error_code ec; s.image.ash && fs::exists("/usr/bin/bash", ec)) {
    // bash called sh is nearer to busybox's shell than dash is.
    auto shell = fs::canonical("/usr/bin/sh", ec);
    if (!ec && shell != "/usr/bin/bash" && shell.string().starts_with("/usr/"))
      add({"--ro-bind", "/usr/bin/bash", shell.string()});
  }
  for (std::string link : {"bin", "sbin", "lib", "lib32", "lib64", "libx32"}) {
    std::error_code ec;
    auto path = "/" + link;
    if (fs::is_symlink(path, ec))
      add({"--symlink", fs::read_symlink(path, ec).string(), path});
    else if (fs::is_directory(path, ec))
      add({"--ro-bind", path, path});
  }
  for (auto path : {"/etc/ssl",        "/etc/ca-certificates", "/etc/pki",           "/etc/ld.so.cache",
                    "/etc/ld.so.conf", "/etc/ld.so.conf.d",    "/etc/nsswitch.conf", "/etc/localtime",
                    "/etc/timezone",   "/etc/alternatives",    "/etc/mime.types",    "/etc/protocols",
                    "/etc/services",   "/etc/gai.conf",        "/etc/host.conf",     "/etc/resolv.conf",
                    "/etc/os-release", "/etc/debian_version",  "/etc/fonts",         "/etc/pip.conf",
                    "/etc/magic",      "/etc/bash.bashrc",     "/etc/profile"})
    if (::access(path, F_OK) == 0) add({"--ro-bind", path, path});
  for (auto name : {"passwd", "group", "hostname", "hosts"})
    add({"--bind", s.etc_folder + "/" + name, fmt::format("/etc/{}", name)});
  add({"--proc", "/proc", "--dev", "/dev", "--dir", "/run", "--dir", "/var/tmp", "--symlink", "/run", "/var/run"});
  add({"--bind", s.folder + "/tmp", "/tmp", "--bind", s.folder + "/root", "/root"});
  add({"--bind", s.folder + "/local", "/usr/local"});
  add({"--bind", s.folder + "/termination-log", "/dev/termination-log"});
  if (s.image.kind == Image::Kind::python) {
    // The prefix of an interpreter outside /usr appears where it is: its programs name it so.
    if (s.image.python.prefix != "/usr" && s.image.python.prefix != "/usr/local")
      add({"--ro-bind", s.image.python.prefix, s.image.python.prefix});
    else if (s.image.python.prefix == "/usr/local")
      return fail(Code::unimplemented,
                  "an interpreter in /usr/local cannot run pods: install one with `uv python install`", "ErrImagePull");
    for (auto tool : {"pip", "uv"})
      add({"--bind-try", s.cache_folder + "/" + tool, fmt::format("{}/{}", kCacheInside, tool)});
    if (!s.env_folder.empty()) add({"--ro-bind", s.env_folder, s.env_folder});
  }
  if (!s.bind_shim.empty()) add({"--ro-bind", s.bind_shim, "/run/millrace/bind.so"});
  for (const auto& m : s.mounts) {
    // A mount below /var/run must not stumble over the link that it is.
    auto target = m.target.starts_with("/var/run/") ? m.target.substr(4) : m.target;
    add({m.read_only ? "--ro-bind" : "--bind", m.source, target});
  }
  if (s.read_only_root) add({"--remount-ro", "/"});
  // An image's working folder is made when it is not there.
  if (!s.working_dir.empty() && s.working_dir != "/" && !s.read_only_root) add({"--dir", s.working_dir});
  for (const auto& [k, v] : s.env)
    if (for_loader(k))
      add({"--setenv", k, v});
    else
      out.env.push_back(k + "=" + v);
  add({"--chdir", s.working_dir.empty() ? "/" : s.working_dir, "--"});
  a.insert(a.end(), s.command.begin(), s.command.end());
  return out;
}

SandboxCommand join_command(int pid, const SandboxSpec& s, const std::vector<std::string>& command) {
  SandboxCommand out;
  auto nsenter = program("nsenter");
  out.argv = {nsenter, "-t", std::to_string(pid), "-U", "-m", "-p", "-i", "-u", "--preserve-credentials", "--"};
  // nsenter looks its own --wd up before it enters: a program of the sandbox goes there instead.
  auto dir = s.working_dir.empty() ? std::string("/") : s.working_dir;
  out.argv.insert(out.argv.end(), {"/usr/bin/env", "-C", dir, "--"});
  for (const auto& [k, v] : s.env)
    if (for_loader(k))
      out.argv.push_back(k + "=" + v);
    else
      out.env.push_back(k + "=" + v);
  out.argv.insert(out.argv.end(), command.begin(), command.end());
  return out;
}

int main_process(int init_pid) {
  std::ifstream in(fmt::format("/proc/{0}/task/{0}/children", init_pid));
  int pid = -1;
  in >> pid;
  return in ? pid : -1;
}

// bubblewrap tells of its first process before it has made the view; it starts the command after that.
task::Task<bool> sandbox_is_up(int init_pid) {
  for (int i = 0; i < 1000; ++i) {
    if (main_process(init_pid) > 0) co_return true;
    if (::kill(init_pid, 0) != 0) co_return false;
    co_await task::sleep_ms(2);
  }
  co_return false;
}

}  // namespace mr::node
