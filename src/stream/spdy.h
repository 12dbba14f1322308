// A SPDY/3.1 connection over any byte stream: streams with headers, each a ByteStream of its own. Lives on one loop;
// not thread safe. Streams are shared; one that outlives its connection answers with errors.
#pragma once
#include <functional>
#include <map>
#include <memory>

#include "http/byte_stream.h"
#include "stream/spdy_frames.h"
#include "task/event.h"

namespace mr::stream {

class SpdySession;

class SpdyStream final : public http::ByteStream {
 public:
  SpdyStream(SpdySession* session, std::uint32_t id, SpdyHeaders headers);
  [[nodiscard]] std::uint32_t id() const { return id_; }
  // Of the SYN_STREAM; name in lower case. Empty when there is none.
  [[nodiscard]] std::string_view header(std::string_view name) const;
  // Accepts a stream that the peer opened; nothing may be written before.
  task::Task<Result<void>> reply(SpdyHeaders headers = {});
  task::Task<Result<std::string_view>> read() override;
  task::Task<Result<void>> write(std::string_view bytes) override;
  task::Task<Result<void>> shutdown_write() override;  // FIN
  // Ends it with RST_STREAM, unless both sides have ended it already.
  void close() override;
  task::Task<void> reset(SpdyStatus status);
  // Called once when the peer resets the stream or its connection is lost before both sides have ended it.
  void on_reset(std::move_only_function<void()> fn) { on_reset_ = std::move(fn); }

 private:
  friend class SpdySession;
  void arrived();
  SpdySession* session_;  // null once the connection is gone
  std::uint32_t id_;
  SpdyHeaders headers_;
  std::string buffer_;  // arrived, not yet read
  std::string given_;   // what the last read returned
  std::int64_t window_ = kSpdyDefaultWindow;
  bool peer_ended_ = false;
  bool we_ended_ = false;
  bool dead_ = false;  // reset by either side, or the connection is gone
  std::move_only_function<void()> on_reset_;
  task::Event readable_;
  task::Event room_;      // the peer opened its window
  task::Event consumed_;  // the reader took what was buffered
};
using SpdyStreamPtr = std::shared_ptr<SpdyStream>;

struct SpdyOptions {
  std::size_t max_streams = 1000;          // open at once; more are refused
  std::size_t stream_buffer = 256 * 1024;  // unread bytes of one stream; beyond it the connection is not read on
  SpdyDecoder::Limits limits;
  // Kubernetes' clients neither grant windows nor keep to them: they are told to rely on the connection's own back
  // pressure.
  bool flow_control = true;
  bool client = false;  // opens streams with odd ids
};

class SpdySession {
 public:
  // `on_stream` is called for each stream that the peer opens; it starts what serves it with tasks().spawn().
  using OnStream = std::move_only_function<void(SpdyStreamPtr)>;
  SpdySession(http::ByteStream& io, SpdyOptions options, OnStream on_stream);
  ~SpdySession();
  // Reads until the peer is done or breaks the protocol, then waits for tasks().
  task::Task<void> run();
  // Opens a stream to the peer (which may answer or reset it).
  task::Task<Result<SpdyStreamPtr>> open(SpdyHeaders headers, bool fin = false);
  // What works on this session's streams: run() returns after it.
  task::Group& tasks() { return tasks_; }
  // Says that no more comes (GOAWAY) and ends our half of the connection.
  task::Task<void> goaway();
  void close() { io_.close(); }

 private:
  friend class SpdyStream;
  task::Task<Result<void>> on_frame(SpdyFrame& f);
  task::Task<Result<void>> on_data(SpdyFrame& f);
  task::Task<Result<void>> send(std::string frame);
  task::Task<Result<void>> send_data(std::uint32_t stream, std::string_view bytes, bool fin);
  SpdyStream* find(std::uint32_t id);
  void forget(SpdyStream& s);

  http::ByteStream& io_;
  SpdyOptions options_;
  OnStream on_stream_;
  SpdyDecoder decoder_;
  SpdyEncoder encoder_;
  task::Mutex writing_;
  task::Group tasks_;
  std::map<std::uint32_t, SpdyStreamPtr> streams_;
  std::string out_;
  std::uint32_t last_seen_ = 0;
  std::uint32_t next_id_;
  std::int64_t first_window_ = kSpdyDefaultWindow;
  bool going_ = false;
};

}  // namespace mr::stream
