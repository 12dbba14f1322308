// The side towards the servers.
#include "grpc/proxy_sides.h"
#include "log/log.h"

namespace mr::grpc::relay {

namespace {

constexpr std::size_t kProxyChunk = 256 * 1024;

struct FarCallbacks {
  nghttp2_session_callbacks* all = nullptr;
  nghttp2_option* option = nullptr;
  static Far& of(void* p) { return *static_cast<Far*>(p); }
  FarCallbacks() {
    nghttp2_session_callbacks_new(&all);
    nghttp2_session_callbacks_set_on_begin_headers_callback(all,
                                                            [](nghttp2_session*, const nghttp2_frame* f, void* self) {
                                                              if (auto* s = of(self).find(f->hd.stream_id))
                                                                s->arriving.clear();
                                                              return 0;
                                                            });
    nghttp2_session_callbacks_set_on_header_callback(
        all, [](nghttp2_session*, const nghttp2_frame* f, const std::uint8_t* n, std::size_t nl, const std::uint8_t* v,
                std::size_t vl, std::uint8_t, void* self) {
          auto* s = of(self).find(f->hd.stream_id);
          if (s == nullptr) return 0;
          s->arriving_bytes += nl + vl + 32;
          if (s->arriving_bytes > of(self).limits.header_bytes) return int{NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE};
          s->arriving.emplace_back(text_of(n, nl), text_of(v, vl));
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        all,
        [](nghttp2_session* session, std::uint8_t, std::int32_t id, const std::uint8_t* d, std::size_t n, void* self) {
          nghttp2_session_consume_connection(session, n);
          if (auto* s = of(self).find(id))
            of(self).on_data(*s, text_of(d, n));
          else
            nghttp2_session_consume_stream(session, id, n);
          return 0;
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(all, [](nghttp2_session*, const nghttp2_frame* f, void* self) {
      auto* s = of(self).find(f->hd.stream_id);
      if (s == nullptr) return 0;
      const bool ends = (f->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
      if (f->hd.type == NGHTTP2_HEADERS)
        of(self).on_head(*s, ends);
      else if (f->hd.type == NGHTTP2_DATA && ends)
        of(self).on_end(*s);
      return 0;
    });
    nghttp2_session_callbacks_set_on_stream_close_callback(
        all, [](nghttp2_session*, std::int32_t id, std::uint32_t code, void* self) {
          of(self).on_close(id, code);
          return 0;
        });
    nghttp2_option_new(&option);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_max_settings(option, 32);
    nghttp2_option_set_max_outbound_ack(option, 100);
  }
};
const FarCallbacks& far_callbacks() {
  static const FarCallbacks all;
  return all;
}

}  // namespace

nghttp2_nv field_of(std::string_view name, std::string_view value) {
  return {reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
          NGHTTP2_NV_FLAG_NONE};
}
std::vector<nghttp2_nv> fields_of(const HeaderList& list) {
  std::vector<nghttp2_nv> out;
  out.reserve(list.size());
  for (const auto& [n, v] : list) out.push_back(field_of(n, v));
  return out;
}
task::Task<void> Side::read_all() {
  while (!closed_) {
    auto piece = co_await bytes_->read();
    if (!piece || piece->empty() || closed_) break;
    moved_ns_ = time::mono_ns();
    auto n = nghttp2_session_mem_recv(session_, reinterpret_cast<const std::uint8_t*>(piece->data()), piece->size());
    wake();
    if (n < 0) {
      log::debug("an HTTP/2 connection broke the protocol", {{"error", nghttp2_strerror(static_cast<int>(n))}});
      break;
    }
  }
  finish_ = true;
  wake();
}

task::Task<void> Side::write_all() {
  std::string out;
  while (!closed_) {
    out.clear();
    while (out.size() < kProxyChunk) {
      const std::uint8_t* data = nullptr;
      auto n = nghttp2_session_mem_send(session_, &data);
      if (n < 0) finish_ = true;
      if (n <= 0) break;
      out.append(reinterpret_cast<const char*>(data), static_cast<std::size_t>(n));
    }
    if (!out.empty()) {
      task::Timer stalled;
      stalled.start(stall_ms_, [this] { bytes_->close(); });
      if (!co_await bytes_->write(out)) break;
      continue;
    }
    const bool over = nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
    if (finish_ || over || done()) break;
    co_await wake_.wait();
  }
  close();
}

Far::Far(Proxy& proxy, std::unique_ptr<http::ByteStream> bytes, const ProxyLimits& l)
    : Side(l.stall_timeout_s), limits(l), proxy_(proxy), owned_(std::move(bytes)) {
  bytes_ = owned_.get();
  nghttp2_session_client_new2(&session_, far_callbacks().all, this, far_callbacks().option);
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, l.stream_window},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<std::uint32_t>(l.header_bytes)}};
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kProxyWindow);
}

task::Task<void> Far::run() {
  task::Group writing;
  writing.spawn(write_all());
  co_await read_all();
  co_await writing.join();
  // What was not answered will not be.
  auto all = std::move(streams_);
  streams_.clear();
  for (auto& [_, s] : all) {
    s->far = nullptr;
    if (s->gone || s->to_near.ended) continue;
    if (s->answered)
      proxy_.reset(*s, NGHTTP2_INTERNAL_ERROR);
    else
      proxy_.refuse(*s, Status::unavailable,
                    "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
                    503);
  }
  finished_ = true;
  proxy_.wake();
}

bool Far::send(const StreamPtr& s) {
  HeaderList all{{":method", s->head.method},
                 {":scheme", s->head.scheme.empty() ? "http" : s->head.scheme},
                 {":authority", s->head.authority},
                 {":path", s->head.path}};
  all.insert(all.end(), s->head.headers.begin(), s->head.headers.end());
  auto fields = fields_of(all);
  nghttp2_data_provider body{};
  body.source.ptr = s.get();
  body.read_callback = [](nghttp2_session*, std::int32_t, std::uint8_t* to, std::size_t room, std::uint32_t* flags,
                          nghttp2_data_source* source, void* self) -> ssize_t {
    return FarCallbacks::of(self).give(*static_cast<Stream*>(source->ptr), to, room, flags);
  };
  auto id = nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(), &body, nullptr);
  if (id < 0) return false;
  s->far_id = id;
  s->far = this;
  streams_[id] = s;
  wake();
  return true;
}

std::ptrdiff_t Far::give(Stream& s, std::uint8_t* to, std::size_t room, std::uint32_t* flags) {
  auto n = s.to_far.take(to, room);
  s.release(n);
  if (n > 0 && !s.gone) {
    nghttp2_session_consume_stream(proxy_.session(), s.near_id, n);
    proxy_.wake();
  }
  if (s.to_far.left() == 0) {
    if (s.to_far.ended)
      *flags |= NGHTTP2_DATA_FLAG_EOF;
    else if (n == 0)
      return NGHTTP2_ERR_DEFERRED;
  }
  return static_cast<std::ptrdiff_t>(n);
}

void Far::reset(Stream& s, std::uint32_t code) {
  if (s.far != this || closed()) return;
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, s.far_id, code);
  wake();
}

void Far::on_head(Stream& s, bool ends) {
  auto fields = std::exchange(s.arriving, {});
  const bool head = !fields.empty() && fields.front().first == ":status";
  if (head && fields.front().second.starts_with('1')) return;
  if (head) {
    if (ends) s.to_near.ended = true;
    proxy_.answer_head(s, std::move(fields), ends);
    return;
  }
  s.trailers = std::move(fields);
  if (ends) on_end(s);
}
void Far::on_data(Stream& s, std::string_view bytes) {
  s.to_near.bytes.append(bytes);
  proxy_.answer_goes_on(s);
}
void Far::on_end(Stream& s) {
  s.to_near.ended = true;
  proxy_.answer_goes_on(s);
}
void Far::on_close(std::int32_t id, std::uint32_t code) {
  auto it = streams_.find(id);
  if (it == streams_.end()) return;
  auto s = it->second;
  streams_.erase(it);
  s->far = nullptr;
  if (s->gone || s->to_near.ended) return;
  if (s->answered || code == NGHTTP2_NO_ERROR)
    proxy_.reset(*s, code == NGHTTP2_NO_ERROR ? std::uint32_t{NGHTTP2_INTERNAL_ERROR} : code);
  else if (code == NGHTTP2_REFUSED_STREAM)
    proxy_.refuse(*s, Status::unavailable, "the upstream refused the call", 503);
  else
    proxy_.reset(*s, code);
}

}  // namespace mr::grpc::relay
