#include "node/process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <csignal>
#include <sstream>

// glibc 2.36 declares these for C alone.
extern "C" {
#include <sys/pidfd.h>
}

#include "core/read_file.h"
#include "task/loop.h"
#include "text/text.h"

namespace mr::node {

namespace asio = boost::asio;
using Descriptor = asio::posix::stream_descriptor;

struct Process::Impl : std::enable_shared_from_this<Process::Impl> {
  explicit Impl(asio::io_context& io) : pidfd(io) {}
  pid_t pid = 0;
  bool ended = false;
  Descriptor pidfd;
  std::move_only_function<void(int)> on_exit;

  void watch() {
    pidfd.async_wait(Descriptor::wait_read, [self = shared_from_this()](const boost::system::error_code& ec) {
      if (ec) return;
      int status = 0;
      if (::waitpid(self->pid, &status, WNOHANG) != self->pid) {
        self->watch();
        return;
      }
      self->ended = true;
      self->pidfd.close();
      if (auto fn = std::exchange(self->on_exit, nullptr)) fn(status);
    });
  }
};

namespace {

// Between vfork and exec: only calls that are safe in a copy of the parent's memory. Returns only when it failed.
int child(const SpawnOptions& o, char* const* argv, char* const* envp, const int* from, const int* to, std::size_t n,
          int null_fd) {
  for (const auto& file : o.cgroups) {
    int fd = ::open(file.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0) continue;
    [[maybe_unused]] auto put = ::write(fd, "0", 1);
    ::close(fd);
  }
  if (!o.folder.empty() && ::chdir(o.folder.c_str()) != 0) return errno;
  if (o.terminal) {
    ::setsid();
    ::ioctl(o.in, TIOCSCTTY, 0);
  } else {
    ::setpgid(0, 0);  // a Ctrl-C at our terminal is ours alone
  }
  // Nothing of ours goes along: a listener that a child holds would outlive the program.
  ::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  if (!o.outlives) ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // until the sandbox sets its own
  ::dup2(o.in >= 0 ? o.in : null_fd, 0);
  ::dup2(o.out >= 0 ? o.out : null_fd, 1);
  ::dup2(o.err >= 0 ? o.err : null_fd, 2);
  for (std::size_t i = 0; i < n; ++i) ::dup2(from[i], to[i]);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  ::execve(argv[0], argv, envp);
  return errno;
}

}  // namespace

Result<std::unique_ptr<Process>> Process::start(const SpawnOptions& o, std::move_only_function<void(int)> on_exit) {
  std::vector<char*> argv, envp;
  for (const auto& a : o.argv) argv.push_back(const_cast<char*>(a.c_str()));
  for (const auto& e : o.env) envp.push_back(const_cast<char*>(e.c_str()));
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  // Descriptors meant for low numbers may sit on each other's targets: move them up first.
  std::vector<Fd> moved;
  std::vector<int> from, to;
  for (auto [ours, theirs] : o.fds) {
    moved.emplace_back(::fcntl(ours, F_DUPFD_CLOEXEC, 64));
    from.push_back(moved.back().get());
    to.push_back(theirs);
  }
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  volatile int failed = 0;
  pid_t pid = ::vfork();
  if (pid == 0) {
    failed = child(o, argv.data(), envp.data(), from.data(), to.data(), from.size(), null.get());
    ::_exit(127);
  }
  int err = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return fail_errno("vfork", err);
  if (failed != 0) {
    ::waitpid(pid, nullptr, 0);
    return fail_errno(o.argv[0], failed);
  }
  auto impl = std::make_shared<Impl>(task::Loop::current()->context());
  impl->pid = pid;
  impl->on_exit = std::move(on_exit);
  int fd = ::pidfd_open(pid, 0);
  if (fd < 0) {
    err = errno;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return fail_errno("pidfd_open", err);
  }
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  impl->pidfd.assign(fd);
  impl->watch();
  return std::unique_ptr<Process>(new Process(std::move(impl)));
}

Process::~Process() {
  impl_->on_exit = nullptr;
  if (!impl_->ended) kill(SIGKILL);  // the watch holds the rest and reaps it
}
pid_t Process::pid() const { return impl_->pid; }
bool Process::running() const { return !impl_->ended; }
void Process::kill(int signal) {
  if (impl_->ended) return;
  ::pidfd_send_signal(impl_->pidfd.native_handle(), signal, nullptr, 0);
  // A sandbox that is still being set up has a second process that waits for the first: the whole group goes.
  if (signal == SIGKILL) ::kill(-impl_->pid, SIGKILL);
}

void end_strays(const std::string& data_folder) {
  const auto pods = data_folder + "/pods/", interpreters = data_folder + "/node/warm/";
  std::error_code ec;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ec)) {
    auto pid = text::to_i64(entry.path().filename().string());
    if (!pid) continue;
    auto line = read_or_empty((entry.path() / "cmdline").string());
    auto program = std::string_view(line).substr(0, line.find('\0'));
    // Its parent is gone: what has one is a sandbox of a program that runs.
    auto fields = read_or_empty((entry.path() / "stat").string());
    auto after = fields.rfind(')');
    if (!program.ends_with("/bwrap") ||
        (line.find(pods) == std::string::npos && line.find(interpreters) == std::string::npos) ||
        after == std::string::npos)
      continue;
    std::istringstream rest(fields.substr(after + 1));
    char state = 0;
    int parent = 0;
    if (rest >> state >> parent && parent == 1) ::kill(static_cast<pid_t>(*pid), SIGKILL);
  }
}

int exit_code(int s) { return WIFEXITED(s) ? WEXITSTATUS(s) : WIFSIGNALED(s) ? 128 + WTERMSIG(s) : 255; }

Result<Pipe> make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return fail_errno("pipe", errno);
  return Pipe{Fd(fds[0]), Fd(fds[1])};
}

Result<Terminal> make_terminal(int columns, int rows) {
  winsize size{};
  size.ws_col = static_cast<unsigned short>(columns);
  size.ws_row = static_cast<unsigned short>(rows);
  int master = -1, slave = -1;
  if (::openpty(&master, &slave, nullptr, nullptr, &size) != 0) return fail_errno("openpty", errno);
  ::fcntl(master, F_SETFD, FD_CLOEXEC);
  ::fcntl(slave, F_SETFD, FD_CLOEXEC);
  return Terminal{Fd(master), Fd(slave)};
}

namespace {

struct WaitFor {
  Descriptor& d;
  Descriptor::wait_type what;
  boost::system::error_code ec{};
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) {
    d.async_wait(what, [this, h](const boost::system::error_code& e) {
      ec = e;
      h.resume();
    });
  }
  boost::system::error_code await_resume() const noexcept { return ec; }
};

class FdStream final : public http::ByteStream {
 public:
  explicit FdStream(Fd fd) : d_(task::Loop::current()->context()) {
    boost::system::error_code ec;
    d_.assign(fd.release(), ec);
    d_.non_blocking(true, ec);
  }
  task::Task<Result<std::string_view>> read() override {
    while (d_.is_open()) {
      auto n = ::read(d_.native_handle(), buffer_, sizeof buffer_);
      if (n >= 0) co_return std::string_view(buffer_, static_cast<std::size_t>(n));
      if (errno == EIO) co_return std::string_view();
      if (errno == EINTR) continue;
      if (errno != EAGAIN) co_return fail_errno("read", errno);
      if (co_await WaitFor{d_, Descriptor::wait_read}) break;
    }
    co_return fail(Code::cancelled, "closed");
  }
  task::Task<Result<void>> write(std::string_view bytes) override {
    while (!bytes.empty()) {
      if (!d_.is_open()) co_return fail(Code::cancelled, "closed");
      auto n = ::write(d_.native_handle(), bytes.data(), bytes.size());
      if (n >= 0) {
        bytes.remove_prefix(static_cast<std::size_t>(n));
        continue;
      }
      if (errno == EINTR) continue;
      if (errno != EAGAIN) co_return fail_errno("write", errno);
      if (co_await WaitFor{d_, Descriptor::wait_write}) co_return fail(Code::cancelled, "closed");
    }
    co_return Result<void>{};
  }
  task::Task<Result<void>> shutdown_write() override {
    close();
    co_return Result<void>{};
  }
  void close() override {
    boost::system::error_code ec;
    d_.close(ec);
  }

 private:
  Descriptor d_;
  char buffer_[16 * 1024];
};

}  // namespace

std::unique_ptr<http::ByteStream> stream_of(Fd fd) { return std::make_unique<FdStream>(std::move(fd)); }

}  // namespace mr::node
