#include "node/sessions.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <csignal>

namespace mr::node {

namespace {

constexpr std::size_t kQueued = 4;  // pieces a channel reads ahead of the client
constexpr long kLingerMs = 500;     // for output after the end of the process

void set_size(int fd, std::uint16_t width, std::uint16_t height) {
  winsize size{};
  size.ws_col = width;
  size.ws_row = height;
  ::ioctl(fd, TIOCSWINSZ, &size);
}

struct Running {
  std::unique_ptr<Process> process;
  std::shared_ptr<http::ByteStream> in;
  std::vector<std::shared_ptr<http::ByteStream>> out;
  std::deque<Output::Piece> queue;
  task::Event ready, room[2];
  task::Timer linger;
  int pending = 1;  // the process itself, then each output
  int exit = 0;
  bool gone = false;
  Fd terminal;

  void end_one() {
    --pending;
    ready.set();
  }
};

task::Task<void> read_end(std::shared_ptr<Running> r, int channel, std::shared_ptr<http::ByteStream> from) {
  while (!r->gone) {
    auto piece = co_await from->read();
    if (!piece || piece->empty() || r->gone) break;
    r->queue.push_back({channel, std::string(*piece)});
    r->ready.set();
    while (!r->gone && r->queue.size() >= kQueued) co_await r->room[channel - 1].wait();
  }
  r->end_one();
}

class ProcessSession final : public stream::ExecSession {
 public:
  explicit ProcessSession(std::shared_ptr<Running> r) : r_(std::move(r)) {}
  ~ProcessSession() override { close(); }

  task::Task<Result<void>> write_stdin(std::string_view bytes) override {
    auto in = r_->in;
    if (!in) co_return fail(Code::cancelled, "no standard input");
    co_return co_await in->write(bytes);
  }
  void close_stdin() override {
    if (r_->terminal) {
      // A terminal has no half: its end-of-file character says it.
      [[maybe_unused]] auto put = ::write(r_->terminal.get(), "\x04", 1);
      return;
    }
    if (r_->in) r_->in->close();
  }
  void resize(std::uint16_t width, std::uint16_t height) override {
    if (r_->terminal) set_size(r_->terminal.get(), width, height);
  }
  task::Task<Result<Output>> read_output() override {
    auto r = r_;
    for (;;) {
      if (!r->queue.empty()) {
        last_ = std::move(r->queue.front());
        r->queue.pop_front();
        for (auto& room : r->room) room.set();
        co_return Output{last_.channel, last_.bytes, std::nullopt};
      }
      if (r->gone) co_return fail(Code::cancelled, "closed");
      if (r->pending == 0) co_return Output{1, {}, r->exit};
      co_await r->ready.wait();
    }
  }
  void cancel() override { close(); }

 private:
  void close() {
    if (std::exchange(r_->gone, true)) return;
    r_->linger.cancel();
    if (r_->process) r_->process->kill(SIGKILL);
    r_->process.reset();
    if (r_->in) r_->in->close();
    for (auto& o : r_->out) o->close();
    for (auto& room : r_->room) room.set();
    r_->ready.set();
  }
  std::shared_ptr<Running> r_;
  node::Output::Piece last_;
};

class AttachSession final : public stream::ExecSession {
 public:
  explicit AttachSession(Attachment a) : a_(std::move(a)) {}
  task::Task<Result<void>> write_stdin(std::string_view bytes) override {
    if (!a_.in) co_return fail(Code::cancelled, "the container has no standard input");
    auto* here = task::Loop::current();
    auto in = a_.in;
    co_await Hop{*a_.loop};
    auto done = co_await in->write(bytes);
    co_await Hop{*here};
    co_return done;
  }
  void close_stdin() override {
    if (a_.in && a_.close_in) a_.loop->post([in = a_.in] { in->close(); });
  }
  void resize(std::uint16_t width, std::uint16_t height) override {
    if (a_.terminal) set_size(a_.terminal.get(), width, height);
  }
  task::Task<Result<Output>> read_output() override {
    for (;;) {
      auto seen = a_.reader->changes.now();
      {
        std::lock_guard lock(a_.reader->mutex);
        if (!a_.reader->queue.empty()) {
          last_ = std::move(a_.reader->queue.front());
          a_.reader->queue.pop_front();
          a_.reader->size -= last_.bytes.size();
          co_return Output{last_.channel, last_.bytes, std::nullopt};
        }
      }
      if (seen.over) co_return Output{1, {}, 0};
      co_await a_.reader->changes.after(seen);
    }
  }
  void cancel() override { a_.reader->changes.bump(true); }

 private:
  Attachment a_;
  node::Output::Piece last_;
};

}  // namespace

Result<std::unique_ptr<stream::ExecSession>> start_exec(SandboxCommand join, const kube::ExecOptions& options) {
  auto r = std::make_shared<Running>();
  SpawnOptions o;
  o.argv = std::move(join.argv);
  o.env = std::move(join.env);
  Pipe in, out, err;
  Terminal terminal;
  if (options.tty) {
    o.env.emplace_back("TERM=xterm-256color");
    MR_TRY(terminal, make_terminal(80, 24));
    o.in = o.out = o.err = terminal.slave.get();
    o.terminal = true;
  } else {
    MR_TRY(out, make_pipe());
    MR_TRY(err, make_pipe());
    o.out = out.write.get();
    o.err = err.write.get();
    if (options.in) {
      MR_TRY(in, make_pipe());
      o.in = in.read.get();
    }
  }
  MR_TRY(r->process, Process::start(o, [weak = std::weak_ptr<Running>(r)](int status) {
           auto running = weak.lock();
           if (!running) return;
           running->exit = exit_code(status);
           running->linger.start(kLingerMs, [weak] {
             if (auto late = weak.lock())
               for (auto& s : late->out) s->close();
           });
           running->end_one();
         }));
  auto begin = [&](int channel, Fd fd) {
    ++r->pending;
    std::shared_ptr<http::ByteStream> s = stream_of(std::move(fd));
    r->out.push_back(s);
    task::detach(read_end(r, channel, std::move(s)));
  };
  if (options.tty) {
    terminal.slave.reset();
    r->terminal = Fd(::fcntl(terminal.master.get(), F_DUPFD_CLOEXEC, 3));
    r->in = stream_of(Fd(::fcntl(terminal.master.get(), F_DUPFD_CLOEXEC, 3)));
    begin(1, std::move(terminal.master));
  } else {
    out.write.reset();
    err.write.reset();
    begin(1, std::move(out.read));
    begin(2, std::move(err.read));
    if (options.in) {
      in.read.reset();
      r->in = stream_of(std::move(in.write));
    }
  }
  return std::unique_ptr<stream::ExecSession>(std::make_unique<ProcessSession>(std::move(r)));
}

std::unique_ptr<stream::ExecSession> attach_session(Attachment a) {
  return std::make_unique<AttachSession>(std::move(a));
}

}  // namespace mr::node
