#include "grpc/connection.h"

#include <algorithm>

#include "http/compress.h"
#include "log/log.h"
#include "metrics/metrics.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::grpc {

namespace asio = boost::asio;

namespace {

constexpr std::size_t kMaxHeaderBytes = 16 * 1024;  // of one call
constexpr std::size_t kPrefix = 5;                  // compressed or not, and the length
constexpr std::size_t kWriteChunk = 256 * 1024;
constexpr std::int32_t kStreamWindow = 1 << 20;
constexpr std::int32_t kConnectionWindow = 16 << 20;
constexpr std::int64_t kSecond = 1'000'000'000;

nghttp2_nv header_of(std::string_view name, std::string_view value) {
  auto* n = reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data()));
  auto* v = reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data()));
  return {n, v, name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

// grpc-message: percent-encoded but for the printable ASCII characters.
std::string message_text(std::string_view text) {
  std::string out;
  for (char c : text) {
    auto b = static_cast<unsigned char>(c);
    if (b >= 0x20 && b < 0x7F && b != '%')
      out += c;
    else
      out += fmt::format("%{:02X}", b);
  }
  return out;
}

// "100m": up to eight digits and a unit. Nullopt when it is none.
std::optional<long> timeout_of(std::string_view t) {
  if (t.size() < 2 || t.size() > 9) return std::nullopt;
  auto n = text::to_i64(t.substr(0, t.size() - 1));
  if (!n || *n < 0) return std::nullopt;
  switch (t.back()) {
    case 'H':
      return std::min<std::int64_t>(*n, 1'000'000) * 3'600'000;
    case 'M':
      return *n * 60'000;
    case 'S':
      return *n * 1000;
    case 'm':
      return *n;
    case 'u':
      return (*n + 999) / 1000;
    case 'n':
      return (*n + 999'999) / 1'000'000;
    default:
      return std::nullopt;
  }
}

struct Callbacks {
  nghttp2_session_callbacks* all = nullptr;
  nghttp2_option* option = nullptr;
  Callbacks() {
    nghttp2_session_callbacks_new(&all);
    nghttp2_session_callbacks_set_on_begin_headers_callback(
        all, [](nghttp2_session*, const nghttp2_frame* f, void* self) {
          return f->headers.cat == NGHTTP2_HCAT_REQUEST ? of(self).on_begin(f->hd.stream_id) : 0;
        });
    nghttp2_session_callbacks_set_on_header_callback(
        all, [](nghttp2_session*, const nghttp2_frame* f, const std::uint8_t* n, std::size_t nl, const std::uint8_t* v,
                std::size_t vl, std::uint8_t, void* self) {
          return of(self).on_header(f->hd.stream_id, {reinterpret_cast<const char*>(n), nl},
                                    {reinterpret_cast<const char*>(v), vl});
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        all, [](nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* d, std::size_t n, void* self) {
          return of(self).on_data(id, {reinterpret_cast<const char*>(d), n});
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(all, [](nghttp2_session*, const nghttp2_frame* f, void* self) {
      if ((f->hd.type == NGHTTP2_DATA || f->hd.type == NGHTTP2_HEADERS) && (f->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
        of(self).on_request(f->hd.stream_id);
      return 0;
    });
    nghttp2_session_callbacks_set_on_stream_close_callback(
        all, [](nghttp2_session*, std::int32_t id, std::uint32_t, void* self) {
          of(self).on_stream_close(id);
          return 0;
        });
    nghttp2_option_new(&option);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_settings(option, 32);
    nghttp2_option_set_max_outbound_ack(option, 100);
  }
  static Connection& of(void* p) { return *static_cast<Connection*>(p); }
};
const Callbacks& callbacks() {
  static const Callbacks all;
  return all;
}

struct MethodMetrics {
  metrics::Counter started;
  metrics::Histogram seconds;
  std::map<Status, metrics::Counter> handled;
};

metrics::Labels method_labels(std::string_view method) {
  auto slash = method.rfind('/');
  return {{"grpc_type", "UNARY"},
          {"grpc_service", std::string(method.substr(1, slash - 1))},
          {"grpc_method", std::string(method.substr(slash + 1))}};
}

// The names are py-grpc-prometheus's, which MLServer exports.
MethodMetrics& metrics_of(const std::string& method) {
  thread_local std::map<std::string, MethodMetrics> known;
  auto it = known.find(method);
  if (it == known.end()) {
    auto labels = method_labels(method);
    it = known
             .emplace(method, MethodMetrics{metrics::counter("grpc_server_started_total", "gRPC calls begun.", labels),
                                            metrics::duration_histogram("grpc_server_handling_seconds",
                                                                        "Time of gRPC calls, in seconds.", labels),
                                            {}})
             .first;
  }
  return it->second;
}
void count_handled(const std::string& method, Status status) {
  auto& m = metrics_of(method);
  auto it = m.handled.find(status);
  if (it == m.handled.end()) {
    auto labels = method_labels(method);
    labels.emplace_back("grpc_code", std::string(status_name(status)));
    it = m.handled.emplace(status, metrics::counter("grpc_server_handled_total", "gRPC calls ended.", labels)).first;
  }
  it->second.add();
}

}  // namespace

Connection::Connection(Shard& shard, std::shared_ptr<void> owner, asio::ip::tcp::socket socket)
    : shard_(shard),
      owner_(std::move(owner)),
      transport_(std::move(socket), shard.shared->options.tls.get()),
      opened_ns_(time::mono_ns()) {}

Connection::~Connection() {
  for (auto& [_, s] : streams_) release(s);
  if (session_ != nullptr) nghttp2_session_del(session_);
}

void Connection::start() {
  boost::system::error_code ec;
  auto& socket = transport_.socket();
  socket.non_blocking(true, ec);
  socket.set_option(asio::ip::tcp::no_delay(true), ec);
  if (nghttp2_session_server_new2(&session_, callbacks().all, this, callbacks().option) != 0) return;
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, shard_.shared->options.max_streams},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kMaxHeaderBytes}};
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kConnectionWindow);
  shard_.connections.insert(shared_from_this());
  secured_ = !transport_.secure();
  if (secured_) flush();
  read();
}

void Connection::close() {
  if (closed_) return;
  closed_ = true;
  boost::system::error_code ec;
  transport_.socket().shutdown(asio::ip::tcp::socket::shutdown_both, ec);
  transport_.close();
  shard_.connections.erase(shared_from_this());
}

// Goes on with `then` once the socket is ready for what an attempt waits for; anything else ends the connection.
void Connection::wait(http::Io io, void (Connection::*then)()) {
  using Socket = asio::ip::tcp::socket;
  if (io != http::Io::wait_read && io != http::Io::wait_write) {
    close();
    return;
  }
  transport_.socket().async_wait(io == http::Io::wait_read ? Socket::wait_read : Socket::wait_write,
                                 [self = shared_from_this(), then](const boost::system::error_code& ec) {
                                   if (self->closed_) return;
                                   if (ec)
                                     self->close();
                                   else
                                     ((*self).*then)();
                                 });
}

void Connection::read() { wait(http::Io::wait_read, &Connection::read_some); }

void Connection::read_some() {
  if (!secured_) {
    if (auto io = transport_.handshake(); io != http::Io::done) {
      wait(io, &Connection::read_some);
      return;
    }
    secured_ = true;
    flush();
  }
  // A piece at a time, so that no connection keeps the loop; under TLS more may be at hand than the socket tells.
  std::size_t n = 0;
  auto io = transport_.recv(in_.data(), in_.size(), n);
  if (io != http::Io::done) {
    wait(io, &Connection::read_some);
    return;
  }
  spoke_ = true;
  read_ns_ = time::mono_ns();
  auto taken = nghttp2_session_mem_recv(session_, reinterpret_cast<const std::uint8_t*>(in_.data()), n);
  if (taken < 0) {
    // The peer does not speak HTTP/2, or breaks it; what the library has to say about that still goes out.
    log::debug("grpc connection ended", {{"error", nghttp2_strerror(static_cast<int>(taken))}});
    flush();
    close();
    return;
  }
  flush();
  if (closed_) return;
  if (transport_.pending())
    shard_.loop->post([self = shared_from_this()] {
      if (!self->closed_) self->read_some();
    });
  else
    read();
}

void Connection::flush() {
  if (!secured_) return;
  while (!writing_ && !closed_) {
    out_.clear();
    while (out_.size() < kWriteChunk) {
      const std::uint8_t* data = nullptr;
      auto n = nghttp2_session_mem_send(session_, &data);
      if (n < 0) {
        close();
        return;
      }
      if (n == 0) break;
      out_.append(reinterpret_cast<const char*>(data), static_cast<std::size_t>(n));
    }
    if (out_.empty()) {
      finish_when_done();
      return;
    }
    writing_ = true;
    written_ = 0;
    write_began_ns_ = time::mono_ns();
    write();
  }
}

// Sends what is gathered, as far as the socket takes it; the rest when it takes more.
void Connection::write() {
  while (written_ < out_.size()) {
    std::size_t n = 0;
    auto io = transport_.send(out_.data() + written_, out_.size() - written_, n);
    if (io != http::Io::done) {
      wait(io, &Connection::write_on);
      return;
    }
    written_ += n;
  }
  writing_ = false;
}
void Connection::write_on() {
  write();
  flush();
}

void Connection::finish_when_done() {
  const bool over = nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
  if (over || (draining_ && streams_.empty() && running_ == 0)) close();
}

void Connection::drain() {
  if (!secured_) {  // a client that has not said who it is has no calls
    close();
    return;
  }
  draining_ = true;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_),
                        NGHTTP2_NO_ERROR, nullptr, 0);
  flush();
}

void Connection::tick(std::int64_t now) {
  const auto stall = shard_.shared->options.stall_timeout_s * kSecond;
  if ((!spoke_ && now - opened_ns_ > 20 * kSecond) || (writing_ && now - write_began_ns_ > stall)) {
    close();
    return;
  }
  if (!draining_ && streams_.empty() && spoke_ && now - read_ns_ > shard_.shared->options.idle_timeout_s * kSecond) {
    drain();
    return;
  }
  std::vector<std::int32_t> late, stalled;
  for (auto& [id, s] : streams_) {
    if (!s.answered && s.deadline_ns != 0 && now > s.deadline_ns) late.push_back(id);
    if ((!s.started || s.answered) && now - s.moved_ns > stall) stalled.push_back(id);
  }
  for (auto id : late) answer(id, Reply::error(Status::deadline_exceeded, "the deadline of the call has passed"));
  for (auto id : stalled) nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
  flush();
}

Connection::Stream* Connection::find(std::int32_t id) {
  auto it = streams_.find(id);
  return it == streams_.end() ? nullptr : &it->second;
}

// Gives the memory of a request's body back.
void Connection::release(Stream& s) {
  shard_.shared->held -= s.body.size();
  s.body = {};
}

int Connection::on_begin(std::int32_t id) {
  // Handlers of streams that were reset count too: resetting is no way to more work than the limit.
  if (draining_ || running_ >= shard_.shared->options.max_streams ||
      streams_.size() > 2UL * shard_.shared->options.max_streams)
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  streams_[id].moved_ns = time::mono_ns();
  return 0;
}

int Connection::on_header(std::int32_t id, std::string_view name, std::string_view value) {
  auto* s = find(id);
  if (s == nullptr) return 0;
  s->header_bytes += name.size() + value.size() + 32;
  if (s->header_bytes > kMaxHeaderBytes) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  if (name == ":path") {
    s->method = value;
  } else if (name == ":method") {
    s->post = value == "POST";
  } else if (name == "content-type") {
    s->grpc_type =
        value == "application/grpc" || value.starts_with("application/grpc+") || value.starts_with("application/grpc;");
  } else if (name == "grpc-encoding") {
    s->encoding = value;
  } else if (name == "grpc-timeout") {
    if (auto ms = timeout_of(value)) {
      s->timeout_ms = std::max(1L, *ms);
      s->deadline_ns = time::mono_ns() + std::min<std::int64_t>(s->timeout_ms, 1'000'000'000) * 1'000'000;
    }
  }
  return 0;
}

int Connection::on_data(std::int32_t id, std::string_view bytes) {
  auto* s = find(id);
  if (s == nullptr || s->answered) return 0;
  s->moved_ns = time::mono_ns();
  auto& shared = *shard_.shared;
  if (s->body.size() + bytes.size() > shared.options.max_message + kPrefix) {
    release(*s);
    answer(id, Reply::error(Status::resource_exhausted,
                            fmt::format("the message is larger than {} bytes", shared.options.max_message)));
    return 0;
  }
  if (shared.held + bytes.size() > shared.options.max_waiting) {
    release(*s);
    answer(id, Reply::error(Status::resource_exhausted, "too many bytes of requests are waiting; try again later"));
    return 0;
  }
  shared.held += bytes.size();
  s->body.append(bytes);
  return 0;
}

Result<std::string> Connection::unpack(Stream& s) const {
  if (s.body.size() < kPrefix) return fail(Code::internal, "the call has no message");
  std::uint32_t n = 0;
  for (std::size_t i = 1; i < kPrefix; ++i) n = n << 8 | static_cast<std::uint8_t>(s.body[i]);
  if (n != s.body.size() - kPrefix)
    return fail(Code::internal, n > s.body.size() - kPrefix ? "the call ends inside its message"
                                                            : "a unary call has one message, and this one has more");
  if (s.body[0] == 0) return s.body.substr(kPrefix);
  if (s.body[0] != 1) return fail(Code::internal, "the message's compression flag is neither 0 nor 1");
  if (s.encoding != "gzip" && s.encoding != "deflate")
    return fail(Code::unimplemented,
                fmt::format("the message encoding '{}' is not read; identity, gzip and deflate are",
                            s.encoding.size() > 40 ? "" : s.encoding));
  std::string out;
  http::Inflater inflater;
  auto fed = inflater.feed(std::string_view(s.body).substr(kPrefix), out, shard_.shared->options.max_message);
  if (!fed && fed.error().code == Code::too_large) return fail(Code::resource_exhausted, fed.error().message);
  if (!fed || !inflater.done()) return fail(Code::internal, "the compressed message is broken");
  return out;
}

void Connection::on_request(std::int32_t id) {
  auto* s = find(id);
  if (s == nullptr || s->started || s->answered) return;
  s->started = true;
  if (!s->post) {
    refuse_http(id, "405");
    return;
  }
  if (!s->grpc_type) {
    refuse_http(id, "415");
    return;
  }
  if (!shard_.shared->methods.contains(s->method)) {
    answer(id, Reply::error(Status::unimplemented, "Method not found!"));
    return;
  }
  auto message = unpack(*s);
  release(*s);
  if (!message) {
    answer(id, Reply::error(status_of(message.error().code), message.error().message));
    return;
  }
  task::detach(run(shared_from_this(), id, Call{s->method, std::move(*message), s->timeout_ms}));
}

task::Task<void> Connection::run(std::shared_ptr<Connection> self, std::int32_t id, Call call) {
  ++self->running_;
  auto began = time::mono_ns();
  auto method = call.method;
  metrics_of(method).started.add();
  auto reply = co_await self->shard_.shared->handler(std::move(call));
  count_handled(method, reply.status);
  metrics_of(method).seconds.observe(static_cast<double>(time::mono_ns() - began) / 1e9);
  --self->running_;
  if (self->closed_) co_return;
  self->answer(id, std::move(reply));
  self->flush();
}

void Connection::on_stream_close(std::int32_t id) {
  auto it = streams_.find(id);
  if (it == streams_.end()) return;
  release(it->second);
  streams_.erase(it);
}

std::ptrdiff_t Connection::read_answer(std::int32_t id, std::uint8_t* to, std::size_t room, std::uint32_t* flags) {
  auto* s = find(id);
  if (s == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  auto n = std::min(room, s->out.size() - s->sent);
  std::copy_n(s->out.data() + s->sent, n, to);
  s->sent += n;
  s->moved_ns = time::mono_ns();
  if (s->sent == s->out.size()) {
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    s->out = {};
    s->sent = 0;
    auto trailer = header_of("grpc-status", "0");
    if (nghttp2_submit_trailer(session_, id, &trailer, 1) != 0) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }
  return static_cast<std::ptrdiff_t>(n);
}

void Connection::answer(std::int32_t id, Reply reply) {
  auto* s = find(id);
  if (s == nullptr || s->answered) return;
  s->answered = true;
  s->moved_ns = time::mono_ns();
  auto status = header_of(":status", "200");
  auto type = header_of("content-type", "application/grpc");
  if (reply.status != Status::ok) {
    auto code = std::to_string(static_cast<int>(reply.status));
    auto text = message_text(reply.message.substr(0, 4000));
    const nghttp2_nv headers[] = {status, type, header_of("grpc-status", code), header_of("grpc-message", text),
                                  header_of("grpc-accept-encoding", "identity,deflate,gzip")};
    nghttp2_submit_response(session_, id, headers,
                            reply.status == Status::unimplemented ? std::size(headers) : std::size(headers) - 1,
                            nullptr);
    return;
  }
  auto n = reply.message.size();
  s->out.reserve(kPrefix + n);
  s->out += '\0';
  for (int shift : {24, 16, 8, 0}) s->out += static_cast<char>((n >> shift) & 0xFF);
  s->out += reply.message;
  const nghttp2_nv headers[] = {status, type};
  nghttp2_data_provider body{};
  body.read_callback = [](nghttp2_session*, std::int32_t stream, std::uint8_t* to, std::size_t room,
                          std::uint32_t* flags, nghttp2_data_source*, void* self) -> ssize_t {
    return static_cast<Connection*>(self)->read_answer(stream, to, room, flags);
  };
  nghttp2_submit_response(session_, id, headers, std::size(headers), &body);
}

// What is no gRPC gets an answer of HTTP.
void Connection::refuse_http(std::int32_t id, const char* code) {
  auto* s = find(id);
  if (s == nullptr || s->answered) return;
  s->answered = true;
  const nghttp2_nv headers[] = {header_of(":status", code)};
  nghttp2_submit_response(session_, id, headers, 1, nullptr);
}

}  // namespace mr::grpc
