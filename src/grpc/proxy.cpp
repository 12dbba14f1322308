// The side towards the clients, and the way of each call.
#include "grpc/proxy.h"

#include <atomic>

#include "grpc/proxy_sides.h"
#include "http/tcp_stream.h"

namespace mr::grpc {

namespace relay {

namespace {

constexpr long kAttemptPauseMs = 20;
constexpr std::size_t kMostHeld = 1U << 30;  // bytes of calls on their way to servers, of all connections
std::atomic<std::size_t> bytes_held = 0;

std::string percent_encoded(std::string_view text) {
  std::string out;
  for (char c : text.substr(0, 2000)) {
    auto b = static_cast<unsigned char>(c);
    if (b >= 0x20 && b < 0x7F && b != '%')
      out += c;
    else
      out += fmt::format("%{:02X}", b);
  }
  return out;
}

struct NearCallbacks {
  nghttp2_session_callbacks* all = nullptr;
  nghttp2_option* option = nullptr;
  static Proxy& of(void* p) { return *static_cast<Proxy*>(p); }
  NearCallbacks() {
    nghttp2_session_callbacks_new(&all);
    nghttp2_session_callbacks_set_on_begin_headers_callback(
        all, [](nghttp2_session*, const nghttp2_frame* f, void* self) {
          return f->headers.cat == NGHTTP2_HCAT_REQUEST ? of(self).on_begin(f->hd.stream_id) : 0;
        });
    nghttp2_session_callbacks_set_on_header_callback(
        all, [](nghttp2_session*, const nghttp2_frame* f, const std::uint8_t* n, std::size_t nl, const std::uint8_t* v,
                std::size_t vl, std::uint8_t, void* self) {
          auto* s = of(self).find(f->hd.stream_id);
          return s != nullptr && f->headers.cat == NGHTTP2_HCAT_REQUEST
                     ? of(self).on_field(*s, text_of(n, nl), text_of(v, vl))
                     : 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        all,
        [](nghttp2_session* session, std::uint8_t, std::int32_t id, const std::uint8_t* d, std::size_t n, void* self) {
          auto* s = of(self).find(id);
          nghttp2_session_consume_connection(session, n);
          if (s != nullptr && !s->to_far.ended)
            of(self).on_data(*s, text_of(d, n));
          else
            nghttp2_session_consume_stream(session, id, n);
          return 0;
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(all, [](nghttp2_session*, const nghttp2_frame* f, void* self) {
      auto& p = of(self);
      if (f->hd.type == NGHTTP2_HEADERS && f->headers.cat == NGHTTP2_HCAT_REQUEST) p.on_request(f->hd.stream_id);
      if ((f->hd.type == NGHTTP2_DATA || f->hd.type == NGHTTP2_HEADERS) && (f->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
        if (auto* s = p.find(f->hd.stream_id)) p.on_end(*s);
      return 0;
    });
    nghttp2_session_callbacks_set_on_stream_close_callback(
        all, [](nghttp2_session*, std::int32_t id, std::uint32_t, void* self) {
          of(self).on_close(id);
          return 0;
        });
    nghttp2_option_new(&option);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_settings(option, 32);
    nghttp2_option_set_max_outbound_ack(option, 100);
  }
};
const NearCallbacks& near_callbacks() {
  static const NearCallbacks all;
  return all;
}

}  // namespace

bool Stream::hold(std::size_t n) {
  if (bytes_held.fetch_add(n) + n > kMostHeld) {
    bytes_held.fetch_sub(n);
    return false;
  }
  held += n;
  return true;
}
void Stream::release(std::size_t n) {
  held -= n;
  bytes_held.fetch_sub(n);
}

Proxy::Proxy(http::TakenOver& near, CallRouter router, const ProxyLimits& limits)
    : Side(limits.stall_timeout_s), taken_(near), router_(std::move(router)), limits_(limits) {
  bytes_ = &near.stream;
  moved_ns_ = time::mono_ns();
  nghttp2_session_server_new2(&session_, near_callbacks().all, this, near_callbacks().option);
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.streams},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.stream_window},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<std::uint32_t>(limits.header_bytes)}};
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kProxyWindow);
}

task::Task<void> Proxy::run() {
  taken_.drain = [this] { drain(); };
  idle_later();
  task::Group writing;
  writing.spawn(write_all());
  co_await read_all();
  co_await writing.join();
  // Calls under way have nobody any more who waits for them.
  idle_.cancel();
  taken_.drain = nullptr;
  for (auto& [_, s] : streams_) {
    s->gone = true;
    s->late.cancel();
  }
  for (auto& [_, far] : far_) far->close();
  for (auto& far : old_) far->close();
  co_await tasks_.join();
}

void Proxy::drain() {
  if (std::exchange(draining_, true)) return;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_),
                        NGHTTP2_NO_ERROR, nullptr, 0);
  wake();
}

void Proxy::idle_later() {
  const auto limit = limits_.idle_timeout_s * 1000L;
  const auto past = (time::mono_ns() - moved_ns_) / 1'000'000;
  if (streams_.empty() && past >= limit) {
    drain();
    return;
  }
  idle_.start(streams_.empty() ? std::max(1L, limit - past) : limit, [this] { idle_later(); });
}

int Proxy::on_begin(std::int32_t id) {
  // Calls that were reset while their way was looked for count too.
  if (draining_ || routing_ >= 2UL * limits_.streams || streams_.size() >= 2UL * limits_.streams)
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  auto s = std::make_shared<Stream>();
  s->near_id = id;
  streams_[id] = std::move(s);
  return 0;
}

int Proxy::on_field(Stream& s, std::string_view name, std::string_view value) const {
  s.header_bytes += name.size() + value.size() + 32;
  if (s.header_bytes > limits_.header_bytes) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  if (name == ":method")
    s.head.method = value;
  else if (name == ":scheme")
    s.head.scheme = value;
  else if (name == ":authority")
    s.head.authority = value;
  else if (name == ":path")
    s.head.path = value;
  else if (name == "host" && s.head.authority.empty())
    s.head.authority = value;
  else if (!name.starts_with(':') && name != "host")
    s.head.headers.emplace_back(name, value);
  return 0;
}

void Proxy::on_request(std::int32_t id) {
  auto it = streams_.find(id);
  if (it == streams_.end() || std::exchange(it->second->routed, true)) return;
  ++routing_;
  tasks_.spawn(route(it->second));
}
void Proxy::on_data(Stream& s, std::string_view bytes) {
  if (!s.hold(bytes.size())) {
    refuse(s, Status::resource_exhausted, "too many bytes of calls are waiting; try again later", 503);
    if (s.far != nullptr) s.far->reset(s, NGHTTP2_CANCEL);
    nghttp2_session_consume_stream(session_, s.near_id, bytes.size());
    return;
  }
  s.to_far.bytes.append(bytes);
  if (s.far == nullptr) return;
  nghttp2_session_resume_data(s.far->session(), s.far_id);
  s.far->wake();
}
void Proxy::on_end(Stream& s) {
  s.to_far.ended = true;
  if (s.far == nullptr) return;
  nghttp2_session_resume_data(s.far->session(), s.far_id);
  s.far->wake();
}
void Proxy::on_close(std::int32_t id) {
  auto it = streams_.find(id);
  if (it == streams_.end()) return;
  auto s = it->second;
  streams_.erase(it);
  s->gone = true;
  s->late.cancel();
  s->keep.reset();
  if (s->far != nullptr) s->far->reset(*s, s->to_near.ended ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL);
  wake();
}

task::Task<Far*> Proxy::connect(std::string ip, std::uint16_t port) {
  if (auto it = far_.find({ip, port}); it != far_.end() && it->second->takes_calls()) co_return it->second.get();
  auto guard = co_await connecting_.lock();
  if (closed()) co_return nullptr;
  if (auto it = far_.find({ip, port}); it != far_.end()) {
    if (it->second->takes_calls()) co_return it->second.get();
    old_.push_back(std::move(it->second));
    far_.erase(it);
  }
  std::erase_if(old_, [](const auto& f) { return f->finished(); });
  auto bytes = co_await http::connect_tcp(ip, port, limits_.connect_timeout_ms);
  if (!bytes || closed()) co_return nullptr;
  auto& slot = far_[{ip, port}] = std::make_unique<Far>(*this, std::move(*bytes), limits_);
  tasks_.spawn(slot->run());
  co_return slot->closed() ? nullptr : slot.get();  // it may have ended at once
}

task::Task<void> Proxy::route(StreamPtr s) {
  for (int attempt = 0; !s->gone && !closed(); ++attempt) {
    auto head = s->head;
    auto way = co_await router_(head, attempt);
    if (s->gone || closed()) break;
    if (way.refused != Status::ok) {
      refuse(*s, way.refused, way.why, way.http_status);
      break;
    }
    auto* far = co_await connect(way.ip, way.port);
    if (s->gone || closed()) break;
    if (far == nullptr) {
      if (attempt + 1 < std::max(limits_.attempts, way.attempts)) {
        co_await task::sleep_ms(kAttemptPauseMs);
        continue;
      }
      refuse(*s, Status::unavailable,
             "upstream connect error or disconnect/reset before headers. reset reason: connection failure", 503);
      break;
    }
    s->head = std::move(head);
    s->keep = std::move(way.keep);
    if (way.timeout_ms > 0)
      s->late.start(way.timeout_ms, [this, weak = std::weak_ptr<Stream>(s)] {
        if (auto stream = weak.lock()) too_late(*stream);
      });
    if (!far->send(s)) refuse(*s, Status::unavailable, "the upstream takes no more calls", 503);
    break;
  }
  --routing_;
  wake();
}

void Proxy::too_late(Stream& s) {
  if (s.gone) return;
  if (s.answered)
    reset(s, NGHTTP2_CANCEL);
  else
    refuse(s, Status::deadline_exceeded, "upstream request timeout", 504);
  if (s.far != nullptr) s.far->reset(s, NGHTTP2_CANCEL);
}

std::ptrdiff_t Proxy::give(Stream& s, std::uint8_t* to, std::size_t room, std::uint32_t* flags) {
  auto n = s.to_near.take(to, room);
  if (n > 0 && s.far != nullptr) {
    nghttp2_session_consume_stream(s.far->session(), s.far_id, n);
    s.far->wake();
  }
  if (s.to_near.left() > 0) return static_cast<std::ptrdiff_t>(n);
  if (!s.to_near.ended) return n > 0 ? static_cast<std::ptrdiff_t>(n) : NGHTTP2_ERR_DEFERRED;
  *flags |= NGHTTP2_DATA_FLAG_EOF;
  if (!s.trailers.empty()) {
    *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    auto fields = fields_of(s.trailers);
    nghttp2_submit_trailer(session_, s.near_id, fields.data(), fields.size());
  }
  return static_cast<std::ptrdiff_t>(n);
}

void Proxy::answer_head(Stream& s, HeaderList fields, bool ends) {
  if (s.gone || s.answered) return;
  s.answered = true;
  auto list = fields_of(fields);
  nghttp2_data_provider body{};
  body.source.ptr = &s;
  body.read_callback = [](nghttp2_session*, std::int32_t, std::uint8_t* to, std::size_t room, std::uint32_t* flags,
                          nghttp2_data_source* source, void* self) -> ssize_t {
    return NearCallbacks::of(self).give(*static_cast<Stream*>(source->ptr), to, room, flags);
  };
  nghttp2_submit_response(session_, s.near_id, list.data(), list.size(), ends ? nullptr : &body);
  wake();
}
void Proxy::answer_goes_on(Stream& s) {
  if (s.gone) return;
  nghttp2_session_resume_data(session_, s.near_id);
  wake();
}

void Proxy::refuse(Stream& s, Status status, std::string_view why, int http_status) {
  if (s.gone || s.answered) return;
  s.answered = true;
  s.to_near.ended = true;
  if (s.head.is_grpc()) {
    auto code = std::to_string(static_cast<int>(status));
    auto text = percent_encoded(why);
    const nghttp2_nv fields[] = {field_of(":status", "200"), field_of("content-type", "application/grpc"),
                                 field_of("grpc-status", code), field_of("grpc-message", text)};
    nghttp2_submit_response(session_, s.near_id, fields, std::size(fields), nullptr);
  } else {
    auto code = std::to_string(http_status);
    s.to_near.bytes.assign(why);
    const nghttp2_nv fields[] = {field_of(":status", code), field_of("content-type", "text/plain")};
    nghttp2_data_provider body{};
    body.source.ptr = &s;
    body.read_callback = [](nghttp2_session*, std::int32_t, std::uint8_t* to, std::size_t room, std::uint32_t* flags,
                            nghttp2_data_source* source, void* self) -> ssize_t {
      return NearCallbacks::of(self).give(*static_cast<Stream*>(source->ptr), to, room, flags);
    };
    nghttp2_submit_response(session_, s.near_id, fields, std::size(fields), &body);
  }
  // What more the client would send is of no use.
  if (!s.to_far.ended) {
    s.to_far = {};
    s.to_far.ended = true;
  }
  wake();
}
void Proxy::reset(Stream& s, std::uint32_t code) {
  if (s.gone) return;
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, s.near_id, code);
  wake();
}

}  // namespace relay

std::string_view CallHead::get(std::string_view name) const {
  for (const auto& [n, v] : headers)
    if (n == name) return v;
  return {};
}
bool CallHead::is_grpc() const {
  auto type = get("content-type");
  return type == "application/grpc" || type.starts_with("application/grpc+") || type.starts_with("application/grpc;");
}

task::Task<void> proxy_calls(http::TakenOver& near, CallRouter router, ProxyLimits limits) {
  relay::Proxy proxy(near, std::move(router), limits);
  co_await proxy.run();
}

}  // namespace mr::grpc
