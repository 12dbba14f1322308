#include "cli/mysql.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "core/durable_file.h"
#include "core/fd.h"
#include "log/log.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::cli {

namespace fs = std::filesystem;

namespace {

constexpr long kFirstRetryMs = 500;
constexpr long kLastRetryMs = 30'000;
constexpr long kSteadyMs = 60'000;  // after so long a life the next start does not wait
constexpr int kStopMs = 20'000;
constexpr int kInstallMs = 120'000;
constexpr std::uint64_t kMaxLog = 16U << 20;  // mysql.log moves to mysql.log.1 beyond it
constexpr const char* kMissing =
    "--mysql needs MariaDB's server, which is not installed here: apt install mariadb-server "
    "(its own system service may stay stopped: systemctl disable --now mariadb)";

std::string find_program(std::string_view name) {
  std::string path = std::getenv("PATH") != nullptr ? std::getenv("PATH") : "";
  path += ":/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/libexec";
  for (auto folder : text::split(path, ':')) {
    if (folder.empty()) continue;
    auto full = fmt::format("{}/{}", folder, name);
    if (::access(full.c_str(), X_OK) == 0) return full;
  }
  return {};
}

std::string user_name() {
  const auto* p = ::getpwuid(::geteuid());
  return p != nullptr ? p->pw_name : std::to_string(::geteuid());
}

struct Child {
  pid_t pid = -1;
  Fd watch;   // pidfd: readable when it has ended
  Fd output;  // its standard output and error
};

// The child ends when the calling thread does: between fork and exec it asks the kernel for a signal at that moment.
Result<Child> spawn(const std::vector<std::string>& args, const std::string& folder, int death_signal) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno("cannot make a pipe", errno);
  Fd read(ends[0]), write(ends[1]);
  std::vector<char*> argv;
  for (const auto& a : args) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  std::string home = "HOME=" + folder, path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
              lang = "LC_ALL=C";
  char* env[] = {home.data(), path.data(), lang.data(), nullptr};
  pid_t parent = ::getpid();
  pid_t pid = ::fork();
  if (pid < 0) return fail_errno("cannot start " + args[0], errno);
  if (pid == 0) {  // only calls that are safe after fork in a program with threads
    ::prctl(PR_SET_PDEATHSIG, death_signal);
    if (::getppid() != parent) ::_exit(125);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    ::setsid();  // a Ctrl-C at the terminal is for the program, which then ends it in order
    int null = ::open("/dev/null", O_RDWR);
    ::dup2(null, 0);
    ::dup2(write.get(), 1);
    ::dup2(write.get(), 2);
    ::syscall(SYS_close_range, 3U, ~0U, 0U);
    if (::chdir(folder.c_str()) != 0) ::_exit(126);
    ::execve(argv[0], argv.data(), env);
    ::_exit(127);
  }
  Child c;
  c.pid = pid;
  c.output = std::move(read);
  c.watch = Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  ::fcntl(c.output.get(), F_SETFL, O_NONBLOCK);
  if (!c.watch) {
    int err = errno;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return fail_errno("cannot watch " + args[0], err);
  }
  return c;
}

// The server greets first: its protocol version 10 is the fifth byte.
bool greets(const std::string& address, std::uint16_t port) {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  ::inet_pton(AF_INET, address.c_str(), &a.sin_addr);
  timeval limit{1, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) != 0) return false;
  unsigned char head[5] = {};
  return ::recv(fd.get(), head, sizeof head, MSG_WAITALL) == 5 && head[4] == 10;
}

std::string describe_end(int status) {
  if (WIFSIGNALED(status)) return fmt::format("signal {}", WTERMSIG(status));
  return fmt::format("exit code {}", WEXITSTATUS(status));
}

}  // namespace

struct MySql::Impl {
  MySqlOptions options;
  std::string server, installer, data;
  std::thread thread;
  Fd wake_read, wake_write;
  std::atomic<bool> ready{false}, stopping{false};
  mutable std::mutex mutex;
  mutable std::condition_variable changed;
  std::string last;     // the end of what it wrote
  std::string trouble;  // why it does not run
  Fd log_file;
  std::uint64_t log_size = 0;

  std::string path(std::string_view name) const { return fmt::format("{}/{}", options.folder, name); }

  void keep(std::string_view bytes) {
    if (bytes.empty()) return;
    if (!log_file || log_size > kMaxLog) {
      if (log_size > kMaxLog) ::rename(path("mysql.log").c_str(), path("mysql.log.1").c_str());
      log_file = Fd(::open(path("mysql.log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
      struct stat st{};
      log_size = log_file && ::fstat(log_file.get(), &st) == 0 ? static_cast<std::uint64_t>(st.st_size) : 0;
    }
    if (::write(log_file.get(), bytes.data(), bytes.size()) > 0) log_size += bytes.size();
    {
      std::lock_guard guard(mutex);
      last.append(bytes);
      if (last.size() > 4096) last.erase(0, last.size() - 4096);
    }
    if (options.log) options.log(bytes);
  }
  bool drain(Child& c) {  // false: no more will come
    char buffer[16384];
    for (;;) {
      ssize_t n = ::read(c.output.get(), buffer, sizeof buffer);
      if (n > 0) {
        keep({buffer, static_cast<std::size_t>(n)});
        continue;
      }
      if (n < 0 && errno == EINTR) continue;
      return n < 0 && errno == EAGAIN;
    }
  }

  // Runs a child to its end. Until it greets, asks every 50 ms; gives its wait status.
  int attend(Child& c, bool is_server, long limit_ms) {
    auto started = time::mono_ns();
    auto age = [&] { return (time::mono_ns() - started) / 1'000'000; };
    long told_at = -1;
    bool output = true;
    for (;;) {
      pollfd p[3] = {
          {c.watch.get(), POLLIN, 0}, {wake_read.get(), POLLIN, 0}, {output ? c.output.get() : -1, POLLIN, 0}};
      if (told_at >= 0) p[1].fd = -1;  // heard already
      bool asking = (is_server && !ready) || told_at >= 0 || limit_ms > 0;
      ::poll(p, 3, asking ? 50 : -1);
      if (output) output = drain(c);
      if (p[0].revents != 0) break;
      if (stopping && told_at < 0) {
        told_at = age();
        ready = false;
        ::kill(c.pid, SIGTERM);
      }
      if ((told_at >= 0 && age() - told_at > kStopMs) || (limit_ms > 0 && age() > limit_ms)) ::kill(c.pid, SIGKILL);
      if (is_server && !ready && told_at < 0 && greets(options.address, options.port)) {
        std::lock_guard guard(mutex);
        ready = true;
        trouble.clear();
        changed.notify_all();
      }
    }
    int status = 0;
    while (::waitpid(c.pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (output) drain(c);
    ready = false;
    return status;
  }

  // A server of this folder that outlived a killed program: it was told to end; wait, then make sure.
  void end_stray() const {
    Fd fd(::open(path("mysqld.pid").c_str(), O_RDONLY | O_CLOEXEC));
    char text_buffer[32] = {};
    if (!fd || ::read(fd.get(), text_buffer, sizeof text_buffer - 1) <= 0) return;
    auto pid = text::to_i64(text::trim(text_buffer));
    if (!pid || *pid <= 1) return;
    Fd process(static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(*pid), 0)));
    if (!process) return;
    Fd cmd(::open(fmt::format("/proc/{}/cmdline", *pid).c_str(), O_RDONLY | O_CLOEXEC));
    std::string line(8192, '\0');
    ssize_t n = cmd ? ::read(cmd.get(), line.data(), line.size()) : 0;
    line.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    if (line.find("--datadir=" + data + std::string(1, '\0')) == std::string::npos) return;
    pollfd p{process.get(), POLLIN, 0};
    if (::poll(&p, 1, 10'000) > 0) return;
    log::warn("a database server of an earlier run still holds its folder; ending it", {{"pid", *pid}});
    ::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0);
    ::poll(&p, 1, 5'000);
  }

  Result<> install() {
    if (fs::exists(data + "/mysql")) return {};
    auto fresh = path("data.new");
    std::error_code ec;
    fs::remove_all(fresh, ec);
    std::vector<std::string> args = {
        installer,        "--no-defaults",       "--datadir=" + fresh,   "--auth-root-authentication-method=normal",
        "--skip-test-db", "--skip-name-resolve", "--user=" + user_name()};
    MR_TRY(auto c, spawn(args, options.folder, SIGKILL));
    int status = attend(c, false, kInstallMs);
    if (status != 0)
      return fail(Code::unavailable, fmt::format("mariadb-install-db failed ({})", describe_end(status)));
    fs::rename(fresh, data, ec);
    if (ec) return fail(Code::internal, fmt::format("cannot rename {}: {}", fresh, ec.message()));
    return {};
  }

  std::vector<std::string> server_args() const {
    std::vector<std::string> a = {server, "--no-defaults", "--datadir=" + data,
                                  // Relative to the data folder: a full path may be too long for a socket's address.
                                  "--socket=mysql.sock", "--pid-file=" + path("mysqld.pid"), "--tmpdir=" + path("tmp"),
                                  "--bind-address=" + options.address, fmt::format("--port={}", options.port),
                                  "--skip-name-resolve", "--character-set-server=utf8mb4", "--max-connections=500",
                                  "--innodb-buffer-pool-size=64M", "--performance-schema=OFF", "--local-infile=OFF",
                                  "--innodb-buffer-pool-dump-at-shutdown=OFF"};
    if (::geteuid() == 0) a.push_back("--user=" + user_name());
    return a;
  }

  void failed(std::string why) {
    log::error("the database server does not run", {{"reason", why}});
    std::lock_guard guard(mutex);
    trouble = std::move(why);
    changed.notify_all();
  }

  void supervise() {
    ::prctl(PR_SET_NAME, "mr-mysql");
    end_stray();
    long wait_ms = kFirstRetryMs;
    while (!stopping) {
      auto began = time::mono_ns();
      if (auto r = install(); !r) {
        failed(r.error().message);
      } else if (auto c = spawn(server_args(), options.folder, SIGTERM); !c) {
        failed(c.error().message);
      } else {
        int status = attend(*c, true, 0);
        if (stopping) break;
        failed(fmt::format("mariadbd ended ({})", describe_end(status)));
      }
      if (stopping) break;
      if ((time::mono_ns() - began) / 1'000'000 > kSteadyMs) wait_ms = kFirstRetryMs;
      pollfd p{wake_read.get(), POLLIN, 0};
      ::poll(&p, 1, static_cast<int>(wait_ms));
      wait_ms = std::min(wait_ms * 2, kLastRetryMs);
    }
  }
};

MySql::MySql(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
MySql::~MySql() { stop(); }

Result<std::unique_ptr<MySql>> MySql::open(MySqlOptions options) {
  auto impl = std::make_unique<Impl>();
  impl->server = find_program("mariadbd");
  impl->installer = find_program("mariadb-install-db");
  if (impl->server.empty() || impl->installer.empty()) return fail(Code::failed_precondition, kMissing);
  if (auto full = fs::absolute(options.folder).string(); true) options.folder = full;
  MR_CHECK(make_folders(options.folder + "/tmp"));
  ::chmod(options.folder.c_str(), 0700);
  impl->data = options.folder + "/data";
  impl->options = std::move(options);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return fail_errno("cannot make a pipe", errno);
  impl->wake_read = Fd(ends[0]);
  impl->wake_write = Fd(ends[1]);
  return std::unique_ptr<MySql>(new MySql(std::move(impl)));
}

void MySql::start() {
  if (!impl_->thread.joinable()) impl_->thread = std::thread([i = impl_.get()] { i->supervise(); });
}
bool MySql::ready() const { return impl_->ready; }

Result<> MySql::wait_ready(int timeout_ms) const {
  std::unique_lock lock(impl_->mutex);
  impl_->changed.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                          [&] { return impl_->ready || !impl_->trouble.empty(); });
  if (impl_->ready) return {};
  if (impl_->trouble.empty())
    return fail(Code::deadline_exceeded, fmt::format("MariaDB is not ready after {} s", timeout_ms / 1000), {},
                impl_->last);
  return fail(Code::unavailable, fmt::format("{}; see {}", impl_->trouble, impl_->path("mysql.log")), {}, impl_->last);
}

void MySql::stop() {
  if (!impl_ || !impl_->thread.joinable()) return;
  impl_->stopping = true;
  if (::write(impl_->wake_write.get(), "x", 1) < 0) log::debug("the supervisor was woken already");
  impl_->thread.join();
}

}  // namespace mr::cli
