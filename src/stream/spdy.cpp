#include "stream/spdy.h"

namespace mr::stream {

namespace {
constexpr std::size_t kPiece = 32 * 1024;  // of DATA: small enough for streams to take turns
std::unexpected<Error> gone() { return fail(Code::cancelled, "The stream was reset or its connection lost"); }
}  // namespace

SpdyStream::SpdyStream(SpdySession* session, std::uint32_t id, SpdyHeaders headers)
    : session_(session), id_(id), headers_(std::move(headers)) {}

std::string_view SpdyStream::header(std::string_view name) const {
  for (const auto& [n, v] : headers_)
    if (n == name) return v;
  return {};
}

task::Task<Result<void>> SpdyStream::reply(SpdyHeaders headers) {
  if (dead_) co_return gone();
  auto guard = co_await session_->writing_.lock();
  if (dead_) co_return gone();
  // Packed under the lock: the compression's state must follow the order on the wire.
  co_return co_await session_->io_.write(session_->encoder_.syn_reply(id_, headers, false));
}

task::Task<Result<std::string_view>> SpdyStream::read() {
  while (buffer_.empty()) {
    if (peer_ended_) co_return std::string_view{};
    if (dead_) co_return gone();
    co_await readable_.wait();
  }
  given_ = std::exchange(buffer_, {});
  consumed_.set();
  if (!dead_ && session_->options_.flow_control && !peer_ended_)
    (void)co_await session_->send(SpdyEncoder::window_update(id_, static_cast<std::uint32_t>(given_.size())));
  co_return std::string_view(given_);
}

task::Task<Result<void>> SpdyStream::write(std::string_view bytes) {
  while (!bytes.empty()) {
    if (dead_ || we_ended_) co_return gone();
    auto n = std::min(bytes.size(), kPiece);
    if (session_->options_.flow_control) {
      if (window_ <= 0) {
        co_await room_.wait();
        continue;
      }
      n = std::min(n, static_cast<std::size_t>(window_));
      window_ -= static_cast<std::int64_t>(n);
    }
    MR_CO_CHECK(co_await session_->send_data(id_, bytes.substr(0, n), false));
    bytes.remove_prefix(n);
  }
  co_return Result<void>{};
}

task::Task<Result<void>> SpdyStream::shutdown_write() {
  if (we_ended_) co_return Result<void>{};
  if (dead_) co_return gone();
  we_ended_ = true;
  auto sent = co_await session_->send_data(id_, {}, true);
  if (peer_ended_ && !dead_) session_->forget(*this);
  co_return sent;
}

task::Task<void> SpdyStream::reset(SpdyStatus status) {
  if (dead_) co_return;
  auto* session = session_;
  buffer_.clear();
  on_reset_ = nullptr;
  session->forget(*this);
  (void)co_await session->send(SpdyEncoder::rst_stream(id_, status));
}

void SpdyStream::close() {
  buffer_.clear();  // nobody reads it: the connection must not wait for that
  consumed_.set();
  if (dead_) return;
  if (peer_ended_ && we_ended_) return;
  auto self = session_->streams_.find(id_);
  if (self == session_->streams_.end()) return;
  session_->tasks_.spawn(
      [](SpdyStreamPtr s) -> task::Task<void> { co_await s->reset(SpdyStatus::cancel); }(self->second));
}

// Wakes whoever waits on this stream.
void SpdyStream::arrived() {
  readable_.set();
  room_.set();
  consumed_.set();
}

SpdySession::SpdySession(http::ByteStream& io, SpdyOptions options, OnStream on_stream)
    : io_(io),
      options_(options),
      on_stream_(std::move(on_stream)),
      decoder_(options.limits),
      next_id_(options.client ? 1 : 2) {}

SpdySession::~SpdySession() {
  for (auto& [id, s] : streams_) {
    s->dead_ = true;
    s->session_ = nullptr;
  }
}

SpdyStream* SpdySession::find(std::uint32_t id) {
  auto it = streams_.find(id);
  return it == streams_.end() ? nullptr : it->second.get();
}

// Takes a stream off the table: nothing can be sent on it any more; what was buffered can still be read.
void SpdySession::forget(SpdyStream& s) {
  auto it = streams_.find(s.id_);
  if (it == streams_.end()) return;
  auto keep = std::move(it->second);
  streams_.erase(it);
  s.dead_ = true;
  auto told = std::exchange(s.on_reset_, nullptr);
  if (s.peer_ended_ && s.we_ended_) return;
  s.arrived();
  if (told) told();
}

task::Task<Result<void>> SpdySession::send(std::string frame) {
  auto guard = co_await writing_.lock();
  co_return co_await io_.write(frame);
}
task::Task<Result<void>> SpdySession::send_data(std::uint32_t stream, std::string_view bytes, bool fin) {
  auto guard = co_await writing_.lock();
  out_.clear();
  SpdyEncoder::data(out_, stream, bytes, fin);
  co_return co_await io_.write(out_);
}

task::Task<Result<SpdyStreamPtr>> SpdySession::open(SpdyHeaders headers, bool fin) {
  auto guard = co_await writing_.lock();
  if (going_) co_return gone();
  auto s = std::make_shared<SpdyStream>(this, next_id_, headers);
  next_id_ += 2;
  s->we_ended_ = fin;
  s->window_ = first_window_;
  streams_[s->id_] = s;
  MR_CO_CHECK(co_await io_.write(encoder_.syn_stream(s->id_, headers, fin)));
  co_return s;
}

task::Task<void> SpdySession::goaway() {
  (void)co_await send(SpdyEncoder::goaway(last_seen_));
  (void)co_await io_.shutdown_write();
}

task::Task<Result<void>> SpdySession::on_data(SpdyFrame& f) {
  auto* found = find(f.stream);
  if (found == nullptr || found->peer_ended_) {
    // What was under way when the stream was reset is passed over; on a stream that never was it is a fault.
    if (f.stream > last_seen_ && !options_.client)
      co_return fail(Code::invalid_argument, fmt::format("SPDY: data on stream {}, which is not open", f.stream));
    co_return Result<void>{};
  }
  auto s = streams_[f.stream];
  if (!f.data.empty()) {
    if (options_.flow_control && s->buffer_.size() + f.data.size() > static_cast<std::size_t>(kSpdyDefaultWindow)) {
      co_await s->reset(SpdyStatus::flow_control_error);
      co_return Result<void>{};
    }
    s->buffer_ += f.data;
  }
  if ((f.flags & kSpdyFin) != 0) s->peer_ended_ = true;
  s->readable_.set();
  while (s->buffer_.size() > options_.stream_buffer && !s->dead_) co_await s->consumed_.wait();
  if (s->peer_ended_ && s->we_ended_) forget(*s);
  co_return Result<void>{};
}

task::Task<Result<void>> SpdySession::on_frame(SpdyFrame& f) {
  bool fin = (f.flags & kSpdyFin) != 0;
  switch (f.type) {
    case SpdyType::data:
      co_return co_await on_data(f);
    case SpdyType::syn_stream: {
      bool ours = (f.stream % 2 == 1) == options_.client;
      if (ours || f.stream <= last_seen_)
        co_return fail(Code::invalid_argument, fmt::format("SPDY: stream {} is out of order", f.stream));
      last_seen_ = f.stream;
      if (streams_.size() >= options_.max_streams || going_)
        co_return co_await send(SpdyEncoder::rst_stream(f.stream, SpdyStatus::refused_stream));
      auto s = std::make_shared<SpdyStream>(this, f.stream, std::move(f.headers));
      s->peer_ended_ = fin;
      s->we_ended_ = (f.flags & 2) != 0;  // unidirectional
      s->window_ = first_window_;
      streams_[f.stream] = s;
      if (on_stream_) on_stream_(std::move(s));
      break;
    }
    case SpdyType::syn_reply:
    case SpdyType::headers:
      if (auto* s = find(f.stream); s != nullptr && fin) {
        s->peer_ended_ = true;
        s->readable_.set();
        if (s->we_ended_) forget(*s);
      }
      break;
    case SpdyType::rst_stream:
      if (auto* s = find(f.stream)) forget(*s);
      break;
    case SpdyType::settings:
      for (auto [id, value] : f.settings) {
        if (id != kSpdyInitialWindow || value > 0x7FFFFFFF) continue;
        auto change = static_cast<std::int64_t>(value) - first_window_;
        first_window_ = value;
        for (auto& [n, s] : streams_) {
          s->window_ += change;
          s->room_.set();
        }
      }
      break;
    case SpdyType::ping:
      if ((f.value % 2 == 1) != options_.client) co_return co_await send(SpdyEncoder::ping(f.value));
      break;
    case SpdyType::goaway:
      going_ = true;
      break;
    case SpdyType::window_update:
      if (auto* s = find(f.stream)) {
        if (s->window_ + f.value > 0x7FFFFFFF) {
          auto keep = streams_[f.stream];
          co_await keep->reset(SpdyStatus::flow_control_error);
          break;
        }
        s->window_ += f.value;
        s->room_.set();
      }
      break;
    case SpdyType::ignored:
      break;
  }
  co_return Result<void>{};
}

task::Task<void> SpdySession::run() {
  for (;;) {
    auto bytes = co_await io_.read();
    if (!bytes || bytes->empty()) break;
    std::string_view in = *bytes;
    bool broken = false;
    for (;;) {
      auto f = decoder_.next(in);
      if (!f || (*f && !co_await on_frame(**f))) {
        broken = true;
        break;
      }
      if (!*f) break;
    }
    if (broken) {
      (void)co_await send(SpdyEncoder::goaway(last_seen_));
      io_.close();
      break;
    }
  }
  going_ = true;
  // Streams that the peer had not ended are cut; what it had ended can still be read, and its answer written.
  while (!streams_.empty()) {
    auto s = streams_.begin()->second;
    forget(*s);
  }
  co_await tasks_.join();
}

}  // namespace mr::stream
