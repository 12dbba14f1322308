#include "serving/python/group.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "crypto/random.h"
#include "http/byte_stream.h"
#include "node/cgroup.h"
#include "node/process.h"
#include "node/sandbox.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::serving::python {

namespace fs = std::filesystem;

namespace {

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wc23-extensions"
constexpr char kWorkerSource[] = {
#embed "../../../python/worker/worker.py"
};
#pragma clang diagnostic pop
constexpr int kSocketInside = 3;
constexpr std::size_t kLogLine = 8 * 1024;
constexpr std::size_t kTail = 12, kTailBytes = 2000;  // last lines, which tell why a start failed
constexpr long kFirstPauseMs = 200, kLongestPauseMs = 30000, kSweepMs = 100, kMemoryMs = 250, kEndMs = 2000;

std::uint64_t now_ns() { return static_cast<std::uint64_t>(time::mono_ns()); }

std::string ended_how(int wait_status) {
  int code = node::exit_code(wait_status);
  if (code > 128 && code < 160) return fmt::format("signal {}, {}", code - 128, ::strsignal(code - 128));
  return fmt::format("exit code {}", code);
}

}  // namespace

struct Group::Replica {
  int number = 0;
  std::string folder;
  std::unique_ptr<node::Process> process;
  std::unique_ptr<http::ByteStream> stream, log;
  std::string buffer;            // what has come of the next message
  std::deque<std::string> tail;  // of the log
  bool ready = false, exited = false, timed_out = false, over_memory = false, log_open = false, pausing = false;
  int status = 0;
  int failures = 0;
  std::uint64_t answered = 0;
  task::Event wake, exit_event, log_event, pause_event;
  task::Timer memory_timer;
};

Group::Group(GroupSpec spec) : spec_(std::move(spec)) {}
Group::~Group() = default;

void Group::say(std::string_view text) {
  if (spec_.model.log) spec_.model.log(text);
}
bool Group::any_ready() const {
  return std::ranges::any_of(replicas_, [](const auto& r) { return r->ready; });
}
std::string Group::memory_text() const {
  return spec_.options.memory == 0
             ? std::string("more memory than there is")
             : fmt::format("more than the {} MiB of memory that it may use", spec_.options.memory >> 20);
}

std::string Group::not_started(std::string_view why) const {
  return fmt::format("the model's {} worker does not start: {}", spec_.onnx ? "ONNX Runtime" : "Python", why);
}

task::Task<Result<>> Group::start() {
  for (int i = 0; i < spec_.options.replicas; ++i) {
    replicas_.push_back(std::make_unique<Replica>());
    replicas_.back()->number = i + 1;
    ++running_;
    task::detach(run(shared_from_this(), *replicas_.back()));
  }
  while (!first_known_) co_await first_event_.wait();
  co_return first_;
}

void Group::close() {
  if (std::exchange(closing_, true)) return;
  sweeper_.cancel();
  for (auto& job : std::exchange(waiting_, {}))
    finish(*job, fail(Code::unavailable, "the model is being taken out of service"));
  for (auto& r : replicas_) {
    if (r->process) r->process->kill(SIGKILL);
    r->wake.set();
    r->pause_event.set();
  }
}

task::Task<void> Group::ended() {
  while (running_ > 0) co_await ended_event_.wait();
}

void Group::finish(Job& job, Result<Output> result) {
  if (auto done = std::exchange(job.done, nullptr)) done(std::move(result));
}

void Group::submit(std::shared_ptr<Job> job) {
  if (closing_) return finish(*job, fail(Code::unavailable, "the model is being taken out of service"));
  if (!broken_.empty() && !any_ready()) return finish(*job, fail(Code::unavailable, not_started(broken_)));
  if (waiting_.size() >= spec_.options.queue)
    return finish(*job,
                  fail(Code::resource_exhausted, "too many requests are waiting for this model; try again later"));
  job->deadline_ns = now_ns() + static_cast<std::uint64_t>(spec_.options.request_timeout_ms) * 1'000'000;
  waiting_.push_back(std::move(job));
  if (!std::exchange(sweeping_, true)) sweeper_.start(kSweepMs, [this] { sweep(); });
  wake();
}

void Group::wake() {
  for (auto& r : replicas_) r->wake.set();
}

// Requests whose time is over are answered, wherever they are.
void Group::sweep() {
  const auto now = now_ns();
  auto late = [&](Job& job) {
    if (job.deadline_ns > now) return false;
    finish(job, fail(Code::deadline_exceeded,
                     fmt::format("the model did not answer within {} ms", spec_.options.request_timeout_ms)));
    return true;
  };
  std::erase_if(waiting_, [&](auto& job) { return late(*job); });
  std::erase_if(computing_, [&](auto& weak) {
    auto job = weak.lock();
    return !job || !job->done || late(*job);
  });
  sweeping_ = !waiting_.empty() || !computing_.empty();
  if (sweeping_) sweeper_.start(kSweepMs, [this] { sweep(); });
}

// What is computed next: the request that waits longest, with others that fit its shape.
std::vector<std::shared_ptr<Job>> Group::take() {
  std::vector<std::shared_ptr<Job>> batch;
  if (waiting_.empty()) return batch;
  batch.push_back(std::move(waiting_.front()));
  waiting_.pop_front();
  auto rows = batch[0]->call.rows;
  if (!joins_ || batch[0]->alone) return batch;
  for (auto it = waiting_.begin(); it != waiting_.end() && rows < spec_.options.batch_rows;) {
    auto& job = *it;
    if (job->alone || job->call.rows == 0 || rows + job->call.rows > spec_.options.batch_rows ||
        job->call.schema != batch[0]->call.schema) {
      ++it;
      continue;
    }
    rows += job->call.rows;
    batch.push_back(std::move(job));
    it = waiting_.erase(it);
  }
  return batch;
}

task::Task<void> Group::run(std::shared_ptr<Group> self, Replica& r) {
  while (!closing_) {
    auto up = co_await bring_up(r);
    if (!up) broken_ = up.error().message;
    if (!first_known_ && (up || r.number == 1)) {
      first_ = up;
      first_known_ = true;
      first_event_.set();
    }
    if (up && !closing_) {
      broken_.clear();
      auto answered = r.answered;
      r.ready = true;
      auto worked = co_await work(r);
      r.ready = false;
      r.failures = r.answered > answered ? 1 : r.failures + 1;
      if (!worked && !closing_) say(fmt::format("worker {}: {}", r.number, worked.error().message));
    } else if (!closing_) {
      ++r.failures;
      say(fmt::format("worker {} could not be started: {}", r.number, broken_));
      if (!any_ready())
        for (auto& job : std::exchange(waiting_, {})) finish(*job, fail(Code::unavailable, not_started(broken_)));
    }
    co_await end(r);
    if (closing_ || !first_) break;  // a model that did not come up at all is not served
    auto pause = std::min(kLongestPauseMs, kFirstPauseMs << std::min(r.failures - 1, 10));
    say(fmt::format("worker {} is started anew in {} ms", r.number, pause));
    task::Timer timer;
    timer.start(pause, [&] { r.pause_event.set(); });
    co_await r.pause_event.wait();
  }
  if (!first_known_) {
    first_ = fail(Code::cancelled, "the model is being taken out of service");
    first_known_ = true;
    first_event_.set();
  }
  if (--running_ == 0) ended_event_.set();
}

// What the worker's process is, and what it sees of the machine; with its folders made.
Result<> Group::describe_sandbox(Replica& r, node::SandboxSpec& s) const {
  s.folder = r.folder + "/view";
  s.etc_folder = r.folder + "/etc";
  s.cache_folder = spec_.cache;
  s.host_name = "model";
  s.uid = s.gid = 1000;
  s.read_only_root = true;
  s.working_dir = "/tmp";
  if (!spec_.onnx || spec_.onnx->files.empty()) s.mounts = {{spec_.model.folder, "/mnt/models", true}};
  s.env = {{"PATH", "/usr/local/bin:/usr/bin:/bin"}, {"HOME", "/tmp"}, {"LANG", "C.UTF-8"}};
  const auto memory = std::to_string(spec_.options.memory);
  const auto socket = std::to_string(kSocketInside);
  if (spec_.onnx) {
    const auto& onnx = *spec_.onnx;
    s.image.kind = node::Image::Kind::host;
    s.no_network = true;  // a graph of tensors has nothing to ask of anybody
    s.env.emplace_back("ORT_DISABLE_TELEMETRY", "1");
    for (const auto& f : onnx.files) s.mounts.push_back({spec_.model.folder + "/" + f, "/mnt/models/" + f, true});
    s.mounts.push_back({onnx.program, "/opt/millrace/millrace", true});
    s.mounts.push_back({onnx.library, "/opt/millrace/libonnxruntime.so", true});
    s.command = {"/opt/millrace/millrace",
                 "onnx-worker",
                 "--fd",
                 socket,
                 "--library",
                 "/opt/millrace/libonnxruntime.so",
                 "--model",
                 "/mnt/models/" + onnx.file,
                 "--memory",
                 memory};
    s.command.insert(s.command.end(), onnx.args.begin(), onnx.args.end());
  } else {
    s.image.kind = node::Image::Kind::python;
    s.image.python = spec_.python;
    s.env_folder = spec_.environment;
    s.no_network = !spec_.options.allow_network;
    s.mounts.push_back({r.folder + "/worker.py", "/opt/millrace/worker.py", true});
    for (const auto& [name, value] :
         std::initializer_list<std::pair<const char*, const char*>>{{"PYTHONUNBUFFERED", "1"},
                                                                    {"PYTHONDONTWRITEBYTECODE", "1"},
                                                                    {"GIT_PYTHON_REFRESH", "quiet"},
                                                                    {"NUMBA_CACHE_DIR", "/tmp/numba"},
                                                                    {"MPLCONFIGDIR", "/tmp/matplotlib"}})
      s.env.emplace_back(name, value);
    if (s.no_network)  // libraries that would look for newer files, and wait
      for (auto name : {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}) s.env.emplace_back(name, "1");
    if (const char* told = ::getenv("SERVING_MODEL_CONFIG"))  // as MLflow's own server reads it
      s.env.emplace_back("SERVING_MODEL_CONFIG", told);
    for (const auto& e : spec_.model.env)
      if (!e.first.starts_with("LD_") && e.first != "PATH" && e.first != "HOME") s.env.push_back(e);
    s.command = {"/usr/local/bin/python",
                 "/opt/millrace/worker.py",
                 "--fd",
                 socket,
                 "--model",
                 "/mnt/models",
                 "--memory",
                 memory};
  }
  MR_CHECK(node::make_etc(s.etc_folder, s.host_name, s.uid, s.gid));
  node::write_hosts(s.etc_folder, "127.0.0.1", s.host_name, {}, {});
  MR_CHECK(node::make_container_folder(s));
  if (!spec_.onnx && !std::ofstream(r.folder + "/worker.py").write(kWorkerSource, sizeof kWorkerSource))
    return fail_errno(r.folder, errno);
  return {};
}

task::Task<Result<>> Group::bring_up(Replica& r) {
  MR_CO_TRY(auto bubblewrap, node::find_bubblewrap());
  r.folder = fmt::format("{}/{}", spec_.folder, crypto::random_hex(6));
  node::SandboxSpec s;
  MR_CO_CHECK(describe_sandbox(r, s));
  MR_CO_TRY(auto command, node::sandbox_command(s, bubblewrap));
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) co_return fail_errno("socketpair", errno);
  Fd ours(pair[0]), theirs(pair[1]);
  MR_CO_TRY(auto pipe, node::make_pipe());
  node::SpawnOptions o;
  o.argv = command.argv;
  o.env = command.env;
  o.out = o.err = pipe.write.get();
  o.fds = {{theirs.get(), kSocketInside}};
  r.exited = r.timed_out = r.over_memory = false;
  r.buffer.clear();
  r.tail.clear();
  MR_CO_TRY(r.process, node::Process::start(o, [&r](int status) {
              r.status = status;
              r.exited = true;
              r.exit_event.set();
              r.wake.set();
            }));
  theirs.reset();
  pipe.write.reset();
  r.stream = node::stream_of(std::move(ours));
  r.log = node::stream_of(std::move(pipe.read));
  r.log_open = true;
  task::detach(read_log(shared_from_this(), r));
  watch_memory(r);
  task::Timer limit;
  limit.start(spec_.options.start_timeout_ms, [&r] {
    r.timed_out = true;
    r.stream->close();
  });
  auto first = co_await receive(r);
  limit.cancel();
  if (closing_) co_return fail(Code::cancelled, "the model is being taken out of service");
  std::string why;
  if (r.timed_out)
    why = fmt::format("it was not ready within {} ms", spec_.options.start_timeout_ms);
  else if (r.over_memory || (first && !first->ok && first->kind == "memory"))
    why = "it needs " + memory_text();
  else if (first && !first->ok)
    why = "the model could not be loaded: " + first->error;
  else if (first && !first->ready)
    why = "its first message is none of a worker";
  else if (!first && first.error().code == Code::data_loss)
    why = first.error().message;
  if (why.empty() && first) {
    scores_ = first->scores;
    if (!first_known_) ready_ = *first;
    joins_ = joins_ && first->joins;
    say(spec_.onnx ? fmt::format("worker {} is ready: ONNX Runtime {}", r.number, first->onnxruntime)
                   : fmt::format("worker {} is ready: Python {}, mlflow {}", r.number, first->python, first->mlflow));
    co_return Result<>{};
  }
  // What it printed last is the best there is to say; and its socket may be closed before it has ended.
  r.stream->close();
  task::Timer mercy;
  if (why.empty())
    mercy.start(kEndMs, [&r] { r.process->kill(SIGKILL); });
  else
    r.process->kill(SIGKILL);
  while (!r.exited) co_await r.exit_event.wait();
  while (r.log_open) co_await r.log_event.wait();
  if (why.empty()) {
    why = fmt::format("it ended before it was ready ({})", ended_how(r.status));
    std::string said;
    for (const auto& line : r.tail) said += (said.empty() ? "" : "\n") + line;
    if (said.size() > kTailBytes) said = "…" + said.substr(said.size() - kTailBytes);
    if (!said.empty()) why += ": " + said;
  }
  const bool elsewhere = first && !first->ok && first->kind == "unsupported";
  co_return fail(elsewhere ? Code::unimplemented : Code::unavailable, why);
}

task::Task<Result<>> Group::work(Replica& r) {
  while (!closing_) {
    auto batch = take();
    if (batch.empty()) {
      if (r.exited) co_return fail(Code::internal, fmt::format("ended while it waited ({})", ended_how(r.status)));
      co_await r.wake.wait();
      continue;
    }
    std::vector<const Call*> calls;
    for (const auto& job : batch) {
      calls.push_back(&job->call);
      computing_.push_back(job);
    }
    const auto id = next_id_++;
    auto answer = co_await exchange(r, encode(calls, id));
    if (answer && answer->id != id) answer = fail(Code::data_loss, "the worker answered something that was not asked");
    if (answer) {
      ++r.answered;
      settle(batch, std::move(answer));
      continue;
    }
    // The worker goes, and the error says why as the client may read it.
    Error e = answer.error();
    if (r.timed_out) {
      e = Error{Code::deadline_exceeded,
                fmt::format("the model did not answer within {} ms", spec_.options.request_timeout_ms),
                {},
                {}};
    } else if (r.over_memory) {
      e = Error{Code::internal, "the model needs " + memory_text(), "worker", {}};
    } else if (e.code == Code::data_loss) {
      e.code = Code::internal;
      e.reason = "worker";
    } else {
      task::Timer limit;  // the socket may be closed before the process is
      limit.start(kEndMs, [&r] { r.process->kill(SIGKILL); });
      while (!r.exited) co_await r.exit_event.wait();
      e = Error{Code::internal,
                fmt::format("the model's worker ended while it computed ({})", ended_how(r.status)),
                "worker",
                {}};
    }
    settle(batch, std::unexpected(e));
    co_return std::unexpected(e);
  }
  co_return Result<>{};
}

// Gives every request of a batch its part. Requests that were joined and failed are tried again one by one: the fault
// of one is not the others'.
void Group::settle(std::vector<std::shared_ptr<Job>>& batch, Result<Answer> answer) {
  auto again = [&] {
    for (auto it = batch.rbegin(); it != batch.rend(); ++it) {
      (*it)->alone = true;
      if ((*it)->done) waiting_.push_front(*it);
    }
    wake();
  };
  if (batch.size() > 1) {
    if (!answer) {
      if (answer.error().code != Code::deadline_exceeded && !closing_) return again();
    } else if (!answer->ok) {
      return again();
    } else {
      std::vector<std::size_t> rows;
      for (const auto& job : batch) rows.push_back(job->call.rows);
      auto parts = split(answer->output, rows);
      if (!parts) {
        joins_ = false;
        say("the model does not answer row by row, so its requests are no longer joined");
        return again();
      }
      for (std::size_t i = 0; i < batch.size(); ++i) finish(*batch[i], std::move((*parts)[i]));
      return;
    }
  }
  for (auto& job : batch) {
    if (!answer)
      finish(*job, std::unexpected(answer.error()));
    else if (answer->ok && answer->scored.has_value() != job->call.scoring)
      finish(*job, fail(Code::internal, "the worker answered something that was not asked"));
    else if (answer->ok) {
      job->scored = std::move(answer->scored);
      finish(*job, std::move(answer->output));
    } else if (answer->kind == "input")
      finish(*job, fail(Code::invalid_argument, answer->error));
    else if (answer->kind == "memory")
      finish(*job, fail(Code::internal, "the model needs " + memory_text(), "worker"));
    else
      finish(*job, fail(Code::internal, answer->error));
  }
}

task::Task<Result<Answer>> Group::exchange(Replica& r, const std::string& message) {
  task::Timer limit;
  limit.start(spec_.options.request_timeout_ms, [&r] {
    r.timed_out = true;
    r.stream->close();
  });
  MR_CO_CHECK(co_await r.stream->write(message));
  co_return co_await receive(r);
}

task::Task<Result<>> Group::fill(Replica& r, std::size_t bytes) {
  while (r.buffer.size() < bytes) {
    MR_CO_TRY(auto piece, co_await r.stream->read());
    if (piece.empty()) co_return fail(Code::unavailable, "the worker has closed its socket");
    r.buffer += piece;
  }
  co_return Result<>{};
}

task::Task<Result<Answer>> Group::receive(Replica& r) {
  MR_CO_CHECK(co_await fill(r, kHeadBytes));
  MR_CO_TRY(auto head, read_head(std::string_view(r.buffer).substr(0, kHeadBytes)));
  const auto whole = kHeadBytes + head.header + head.payload;
  MR_CO_CHECK(co_await fill(r, whole));
  auto all = std::string_view(r.buffer);
  auto answer = decode(all.substr(kHeadBytes, head.header), all.substr(kHeadBytes + head.header, head.payload));
  if (r.buffer.size() > whole) co_return fail(Code::data_loss, "the worker sent more than its answer");
  r.buffer.clear();
  if (r.buffer.capacity() > 1 << 20) r.buffer.shrink_to_fit();
  co_return answer;
}

task::Task<void> Group::read_log(std::shared_ptr<Group> self, Replica& r) {
  std::string line;
  auto flush = [&] {
    say(line);
    r.tail.push_back(std::move(line));
    if (r.tail.size() > kTail) r.tail.pop_front();
    line.clear();
  };
  for (;;) {
    auto piece = co_await r.log->read();
    if (!piece || piece->empty()) break;
    for (char c : *piece) {
      if (c == '\n' || line.size() >= kLogLine) flush();
      if (c != '\n' && c != '\r') line += static_cast<unsigned char>(c) < 0x20 && c != '\t' ? ' ' : c;
    }
  }
  if (!line.empty()) flush();
  r.log_open = false;
  r.log_event.set();
}

// Beside the limit that the process sets itself: what it starts counts too.
void Group::watch_memory(Replica& r) {
  if (spec_.options.memory <= 0) return;
  r.memory_timer.start(kMemoryMs, [this, &r] {
    if (!r.process || r.exited) return;
    if (node::resident_bytes(r.process->pid()) > spec_.options.memory) {
      r.over_memory = true;
      r.process->kill(SIGKILL);
      return;
    }
    watch_memory(r);
  });
}

task::Task<void> Group::end(Replica& r) {
  r.memory_timer.cancel();
  if (r.stream) r.stream->close();
  if (r.process) {
    r.process->kill(SIGKILL);
    while (!r.exited) co_await r.exit_event.wait();
  }
  if (r.log) {
    task::Timer limit;  // something outside the sandbox cannot hold the pipe, but nothing depends on it
    limit.start(kEndMs, [&r] { r.log->close(); });
    while (r.log_open) co_await r.log_event.wait();
  }
  r.process.reset();
  r.stream.reset();
  r.log.reset();
  std::error_code ec;
  if (!r.folder.empty()) fs::remove_all(r.folder, ec);
}

}  // namespace mr::serving::python
