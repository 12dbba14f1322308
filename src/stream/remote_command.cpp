#include "stream/remote_command.h"

#include "json/parse.h"
#include "json/writer.h"
#include "stream/spdy.h"
#include "stream/upgrade.h"
#include "stream/websocket.h"
#include "text/text.h"
#include "text/uri.h"

namespace mr::stream {

namespace {

enum Channel : int { kStdin = 0, kStdout = 1, kStderr = 2, kError = 3, kResize = 4, kClose = 255 };
constexpr std::string_view kV5 = "v5.channel.k8s.io";
constexpr std::string_view kV4 = "v4.channel.k8s.io";
constexpr std::string_view kV4Base64 = "v4.base64.channel.k8s.io";
constexpr std::size_t kPiece = 32 * 1024;   // of output, a message
constexpr std::size_t kResizeLimit = 1024;  // of one size that is not complete
constexpr long kStreamsTimeoutMs = 30'000;  // until the client has opened all its streams
constexpr long kLastWordsMs = 5'000;        // for the client to take the end and close

// The Status that tells how the process ended.
std::string success_status() { return R"({"metadata":{},"status":"Success"})"; }
std::string exit_status(int code, const std::vector<std::string>& command) {
  if (code == 0) return success_status();
  std::string out;
  json::Writer w(out);
  w.begin_object();
  w.key("metadata");
  w.raw("{}");
  w.field("status", "Failure");
  w.field("message",
          fmt::format("command terminated with non-zero exit code: error executing command [{}], exit code {}",
                      fmt::join(command, " "), code));
  w.field("reason", "NonZeroExitCode");
  w.key("details");
  w.begin_object();
  w.key("causes");
  w.begin_array();
  w.begin_object();
  w.field("reason", "ExitCode");
  w.field("message", std::to_string(code));
  w.end_object();
  w.end_array();
  w.end_object();
  w.end_object();
  return out;
}
std::string failure_status(const Error& e) {
  std::string text = "Internal error occurred: " + e.message;
  std::string out;
  json::Writer w(out);
  w.begin_object();
  w.key("metadata");
  w.raw("{}");
  w.field("status", "Failure");
  w.field("message", text);
  w.field("reason", "InternalError");
  w.key("details");
  w.begin_object();
  w.key("causes");
  w.begin_array();
  w.begin_object();
  w.field("message", e.message);
  w.end_object();
  w.end_array();
  w.end_object();
  w.field("code", 500);
  w.end_object();
  return out;
}

// Terminal sizes come as JSON objects one after the other, cut anywhere.
class Sizes {
 public:
  explicit Sizes(ExecSession& session) : session_(session) {}
  void feed(std::string_view bytes) {
    for (char c : bytes) {
      if (held_.size() < kResizeLimit) held_ += c;
      if (c != '}') continue;
      auto v = json::parse(held_, 4);
      held_.clear();
      if (!v) continue;
      auto side = [&](std::string_view key) {
        const auto* n = json::find(*v, key);
        auto size = n != nullptr && n->is_int64() ? n->as_int64() : 0;
        return static_cast<std::uint16_t>(std::clamp<std::int64_t>(size, 0, 65535));
      };
      if (side("Width") > 0 && side("Height") > 0) session_.resize(side("Width"), side("Height"));
    }
  }

 private:
  ExecSession& session_;
  std::string held_;
};

// Stdin that survives a process which stopped reading.
class Input {
 public:
  explicit Input(ExecSession& session) : session_(session) {}
  task::Task<void> take(std::string_view bytes) {
    if (closed_ || bytes.empty()) co_return;
    if (!co_await session_.write_stdin(bytes)) end();
  }
  void end() {
    if (!std::exchange(closed_, true)) session_.close_stdin();
  }

 private:
  ExecSession& session_;
  bool closed_ = false;
};

// --- channels of a WebSocket ---

class ChannelExec {
 public:
  ChannelExec(WebSocket& ws, http::ByteStream& io, ExecOptions options, std::unique_ptr<ExecSession> session,
              std::string_view protocol)
      : ws_(ws),
        io_(io),
        options_(std::move(options)),
        session_(std::move(session)),
        base64_(protocol == kV4Base64),
        v5_(protocol == kV5) {}

  task::Task<void> run() {
    // An empty message tells the client that the connection stands.
    if (!co_await send(options_.out ? kStdout : options_.err ? kStderr : kError, {})) {
      session_->cancel();
      co_return;
    }
    task::Group group;
    group.spawn(output());
    co_await input();
    if (!over_) session_->cancel();
    co_await group.join();
  }

 private:
  task::Task<Result<void>> send(int channel, std::string_view bytes) {
    char head = static_cast<char>(base64_ ? '0' + channel : channel);
    if (base64_) co_return co_await ws_.write({&head, 1}, text::base64_encode(bytes), true);
    co_return co_await ws_.write({&head, 1}, bytes);
  }

  task::Task<void> output() {
    std::string status;
    for (;;) {
      auto o = co_await session_->read_output();
      if (!o || o->exit) {
        status = o ? exit_status(*o->exit, options_.command) : failure_status(o.error());
        break;
      }
      if (o->channel == kStderr ? !options_.err : !options_.out) continue;
      auto bytes = o->bytes;
      while (!bytes.empty()) {
        if (!co_await send(o->channel, bytes.substr(0, kPiece))) break;
        bytes.remove_prefix(std::min(bytes.size(), kPiece));
      }
    }
    over_ = true;
    (void)co_await send(kError, status);
    patience_.start(kLastWordsMs, [this] { io_.close(); });
    co_await ws_.close();
  }

  // Returns when the client has closed or is lost.
  task::Task<void> input() {
    Input in(*session_);
    Sizes sizes(*session_);
    int channel = -1;
    bool closing = false;
    for (;;) {
      if (base64_) {
        auto m = co_await ws_.read_message(1 << 20);
        if (!m || !*m) co_return;
        auto decoded = (*m)->empty() ? std::nullopt : text::base64_decode(std::string_view(**m).substr(1));
        if (decoded) co_await deliver((**m)[0] - '0', *decoded, in, sizes);
        continue;
      }
      auto piece = co_await ws_.read();
      if (!piece || !*piece) co_return;
      auto data = (*piece)->data;
      if ((*piece)->first) channel = -1;
      if (channel < 0) {
        if (data.empty()) continue;
        channel = static_cast<unsigned char>(data[0]);
        data.remove_prefix(1);
        closing = v5_ && channel == kClose;
      }
      if (closing) {
        if (!data.empty() && data[0] == kStdin) in.end();
        continue;
      }
      co_await deliver(channel, data, in, sizes);
    }
  }
  task::Task<void> deliver(int channel, std::string_view data, Input& in, Sizes& sizes) {
    if (over_) co_return;
    if (channel == kStdin && options_.in) co_await in.take(data);
    if (channel == kResize && options_.tty) sizes.feed(data);
  }

  WebSocket& ws_;
  http::ByteStream& io_;
  ExecOptions options_;
  std::unique_ptr<ExecSession> session_;
  bool base64_;
  bool v5_;
  bool over_ = false;
  task::Timer patience_;
};

// --- streams of SPDY ---

class SpdyExec {
 public:
  SpdyExec(http::ByteStream& io, ExecOptions options, std::unique_ptr<ExecSession> session)
      : options_(std::move(options)),
        session_(std::move(session)),
        spdy_(io, {.max_streams = 16, .stream_buffer = 1 << 20, .flow_control = false},
              [this](SpdyStreamPtr s) { opened(std::move(s)); }) {
    if (options_.tty) options_.err = false;
    expected_ = 1 + options_.in + options_.out + options_.err + options_.tty;
  }

  task::Task<void> run() {
    patience_.start(kStreamsTimeoutMs, [this] { spdy_.close(); });
    co_await spdy_.run();
    cancel();
  }

 private:
  void opened(SpdyStreamPtr s) {
    auto type = s->header("streamtype");
    SpdyStreamPtr* slot = nullptr;
    if (type == "error") slot = &error_;
    if (type == "stdin" && options_.in) slot = &in_;
    if (type == "stdout" && options_.out) slot = &out_;
    if (type == "stderr" && options_.err) slot = &err_;
    if (type == "resize" && options_.tty) slot = &resize_;
    if (slot == nullptr || *slot) {
      s->close();
      return;
    }
    *slot = std::move(s);
    spdy_.tasks().spawn(accept(*slot));
  }
  task::Task<void> accept(SpdyStreamPtr s) {
    if (!co_await s->reply() || --expected_ > 0) co_return;
    patience_.cancel();
    spdy_.tasks().spawn(output());
    // Of all streams this one is open to the end: losing it means a lost client.
    error_->on_reset([this] { cancel(); });
    if (in_) spdy_.tasks().spawn(input());
    if (resize_) spdy_.tasks().spawn(sizes());
  }

  task::Task<void> output() {
    std::string status;
    for (;;) {
      auto o = co_await session_->read_output();
      if (!o || o->exit) {
        status = o ? exit_status(*o->exit, options_.command) : failure_status(o.error());
        break;
      }
      auto& s = o->channel == kStderr ? err_ : out_;
      if (s) (void)co_await s->write(o->bytes);
    }
    over_ = true;
    (void)co_await error_->write(status);
    for (auto* s : {&out_, &err_, &error_})
      if (*s) (void)co_await (*s)->shutdown_write();
    for (auto* s : {&in_, &resize_})
      if (*s) (*s)->close();
    // The client closes when it has read all; what it still sends is read past meanwhile.
    patience_.start(kLastWordsMs, [this] { spdy_.close(); });
  }
  task::Task<void> input() {
    Input in(*session_);
    for (;;) {
      auto piece = co_await in_->read();
      if (!piece) co_return;
      if (piece->empty()) break;
      if (!over_) co_await in.take(*piece);
    }
    if (!over_) in.end();
  }
  task::Task<void> sizes() {
    Sizes sizes(*session_);
    for (;;) {
      auto piece = co_await resize_->read();
      if (!piece || piece->empty()) co_return;
      if (!over_) sizes.feed(*piece);
    }
  }
  void cancel() {
    if (!over_ && !std::exchange(cancelled_, true)) session_->cancel();
  }

  ExecOptions options_;
  std::unique_ptr<ExecSession> session_;
  SpdyStreamPtr error_, in_, out_, err_, resize_;
  int expected_ = 0;
  bool over_ = false;
  bool cancelled_ = false;
  task::Timer patience_;
  SpdySession spdy_;
};

}  // namespace

ExecOptions exec_options(const http::Request& rq) {
  ExecOptions o;
  for (auto& [name, value] : text::parse_query(rq.query)) {
    bool on = value == "true" || value == "1" || value == "True";
    if (name == "stdin") o.in = on;
    if (name == "stdout") o.out = on;
    if (name == "stderr") o.err = on;
    if (name == "tty") o.tty = on;
    if (name == "command") o.command.push_back(std::move(value));
    if (name == "container") o.container = std::move(value);
  }
  return o;
}

http::Response serve_exec(http::Request& rq, ExecOptions options, std::unique_ptr<ExecSession> session) {
  if (!options.in && !options.out && !options.err)
    return status_response(400, "BadRequest", "you must specify at least 1 of stdin, stdout, stderr");
  if (wants_websocket(rq)) {
    static constexpr std::string_view kProtocols[] = {kV5, kV4, kV4Base64};
    auto run = [options, s = std::move(session)](WebSocket& ws, http::ByteStream& io,
                                                 std::string_view protocol) mutable -> task::Task<void> {
      ChannelExec e(ws, io, std::move(options), std::move(s), protocol);
      co_await e.run();
    };
    auto r = accept_websocket(rq, kProtocols, false, std::move(run));
    if (!r) return status_response(400, "BadRequest", r.error().message);
    return std::move(*r);
  }
  if (wants_spdy(rq))
    return accept_spdy(rq, {"v5.channel.k8s.io", "v4.channel.k8s.io"},
                       [options, s = std::move(session)](http::ByteStream& io) mutable -> task::Task<void> {
                         SpdyExec e(io, std::move(options), std::move(s));
                         co_await e.run();
                       });
  return status_response(400, "BadRequest", "Upgrade request required");
}

}  // namespace mr::stream
