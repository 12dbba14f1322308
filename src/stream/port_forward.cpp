#include "stream/port_forward.h"

#include "stream/spdy.h"
#include "stream/upgrade.h"
#include "stream/websocket.h"
#include "text/text.h"
#include "text/uri.h"

namespace mr::stream {

namespace {

constexpr std::string_view kTunnel = "SPDY/3.1+portforward.k8s.io";
constexpr std::string_view kChannels = "v4.channel.k8s.io";
constexpr std::string_view kSpdyVersion = "portforward.k8s.io";
constexpr long kPairTimeoutMs = 30'000;  // between the two streams of a connection
constexpr std::size_t kMaxPorts = 64;    // of one channel connection: two channels a port

std::optional<std::uint16_t> parse_port(std::string_view text) {
  auto n = text::to_u64(text);
  if (!n || *n == 0 || *n > 65535) return std::nullopt;
  return static_cast<std::uint16_t>(*n);
}

std::string error_text(const PortForwardTarget& t, std::uint16_t port, const Error& e) {
  return fmt::format("error forwarding port {} to pod {}, uid {}: {}", port, t.pod, t.uid, e.message);
}

// --- SPDY: two streams a connection, joined by a request id ---

class SpdyForward {
 public:
  SpdyForward(http::ByteStream& io, std::shared_ptr<Dialer> dialer, PortForwardTarget target)
      : dialer_(std::move(dialer)),
        target_(std::move(target)),
        session_(io, {.stream_buffer = 1 << 20, .flow_control = false}, [this](SpdyStreamPtr s) { opened(s); }) {}
  task::Task<void> run() { co_await session_.run(); }

 private:
  struct Pair {
    SpdyStreamPtr data;
    SpdyStreamPtr error;
    task::Timer patience;
  };

  void opened(const SpdyStreamPtr& s) {
    auto type = s->header("streamtype");
    if (!parse_port(s->header("port")) || (type != "data" && type != "error")) {
      s->close();
      return;
    }
    std::string id(s->header("requestid"));
    // Clients of old name no request: their two streams follow each other.
    if (id.empty()) id = std::to_string(type == "error" ? s->id() : s->id() - 2);
    auto& pair = pairs_[id];
    if (!pair) pair = std::make_unique<Pair>();
    auto& slot = type == "data" ? pair->data : pair->error;
    if (slot) {
      s->close();
      return;
    }
    slot = s;
    if (pair->data && pair->error) {
      session_.tasks().spawn(forward(pair->data, pair->error));
      pairs_.erase(id);
      return;
    }
    session_.tasks().spawn(accept(s));
    pair->patience.start(kPairTimeoutMs, [this, id] {
      auto it = pairs_.find(id);
      if (it == pairs_.end()) return;
      if (it->second->data) it->second->data->close();
      if (it->second->error) it->second->error->close();
      pairs_.erase(it);
    });
  }

  static task::Task<void> accept(SpdyStreamPtr s) { (void)co_await s->reply(); }

  task::Task<void> forward(SpdyStreamPtr data, SpdyStreamPtr error) {
    // The first of the two was accepted when it came.
    auto& second = data->id() > error->id() ? data : error;
    (void)co_await second->reply();
    auto port = *parse_port(data->header("port"));
    auto target = co_await dialer_->dial(port);
    if (!target) {
      (void)co_await error->write(error_text(target_, port, target.error()));
      (void)co_await error->shutdown_write();
      co_await data->reset(SpdyStatus::cancel);
      co_return;
    }
    // A client that lets go while the target says nothing must not keep the target's connection.
    data->on_reset([t = target->get()] { t->close(); });
    co_await http::pump(*data, **target);
    data->on_reset(nullptr);
    (void)co_await error->shutdown_write();
    data->close();
    error->close();
  }

  std::shared_ptr<Dialer> dialer_;
  PortForwardTarget target_;
  std::map<std::string, std::unique_ptr<Pair>> pairs_;
  SpdySession session_;
};

task::Task<void> run_spdy(http::ByteStream& io, std::shared_ptr<Dialer> dialer, PortForwardTarget target) {
  SpdyForward f(io, std::move(dialer), std::move(target));
  co_await f.run();
}

// --- Channels: the ports are named in the query, channel 2i has the bytes of the i-th and 2i+1 its error text ---

class ChannelForward {
 public:
  ChannelForward(WebSocket& ws, http::ByteStream& io, std::vector<std::uint16_t> ports, std::shared_ptr<Dialer> dialer,
                 PortForwardTarget target)
      : ws_(ws), io_(io), ports_(std::move(ports)), dialer_(std::move(dialer)), target_(std::move(target)) {}

  task::Task<void> run() {
    lines_.resize(ports_.size());
    for (std::size_t i = 0; i < ports_.size(); ++i) {
      const char port[2] = {static_cast<char>(ports_[i] & 0xFF), static_cast<char>(ports_[i] >> 8)};
      for (std::size_t channel : {2 * i, 2 * i + 1})
        if (!co_await send(channel, {port, 2})) co_return;
    }
    open_ = ports_.size();
    for (std::size_t i = 0; i < ports_.size(); ++i) group_.spawn(line(i));
    co_await receive();
    for (auto& l : lines_) {
      l.closed = true;
      if (l.stream) l.stream->close();
      l.connected.set();
    }
    co_await group_.join();
  }

 private:
  struct Line {
    std::unique_ptr<http::ByteStream> stream;
    task::Event connected;
    bool tried = false;
    bool closed = false;
  };

  task::Task<Result<void>> send(std::size_t channel, std::string_view bytes) {
    char head = static_cast<char>(channel);
    co_return co_await ws_.write({&head, 1}, bytes);
  }

  // From the target to the client, and the end of it.
  task::Task<void> line(std::size_t i) {
    auto& l = lines_[i];
    auto target = co_await dialer_->dial(ports_[i]);
    if (!target) {
      (void)co_await send(2 * i + 1, error_text(target_, ports_[i], target.error()));
    } else if (!l.closed) {
      l.stream = std::move(*target);
      l.tried = true;
      l.connected.set();
      for (;;) {
        auto piece = co_await l.stream->read();
        if (!piece || piece->empty() || !co_await send(2 * i, *piece)) break;
      }
    }
    l.tried = l.closed = true;
    l.connected.set();
    // The last one out ends the connection: this protocol has no word for the end of one channel.
    if (--open_ == 0) {
      patience_.start(3000, [this] { io_.close(); });
      co_await ws_.close();
    }
  }

  task::Task<void> receive() {
    int channel = -1;
    for (;;) {
      auto piece = co_await ws_.read();
      if (!piece || !*piece) co_return;
      auto data = (*piece)->data;
      if ((*piece)->first) channel = -1;
      if (channel < 0) {
        if (data.empty()) continue;
        channel = static_cast<unsigned char>(data[0]);
        data.remove_prefix(1);
      }
      auto i = static_cast<std::size_t>(channel) / 2;
      if (data.empty() || channel % 2 != 0 || i >= lines_.size()) continue;
      auto& l = lines_[i];
      while (!l.tried) co_await l.connected.wait();
      if (!l.closed && !co_await l.stream->write(data)) l.stream->close();
    }
  }

  WebSocket& ws_;
  http::ByteStream& io_;
  std::vector<std::uint16_t> ports_;
  std::shared_ptr<Dialer> dialer_;
  PortForwardTarget target_;
  std::vector<Line> lines_;
  std::size_t open_ = 0;
  task::Timer patience_;
  task::Group group_;
};

// The ports that the query names: "ports=80&ports=443" or "ports=80,443".
Result<std::vector<std::uint16_t>> query_ports(const http::Request& rq) {
  std::vector<std::uint16_t> out;
  for (const auto& [name, value] : text::parse_query(rq.query)) {
    if (name != "ports" && name != "port") continue;
    for (auto item : text::split(value, ',')) {
      auto port = parse_port(item);
      if (!port) return fail(Code::invalid_argument, fmt::format("unable to parse \"{}\" as a port", item));
      if (out.size() == kMaxPorts) return fail(Code::invalid_argument, "too many ports");
      out.push_back(*port);
    }
  }
  if (out.empty()) return fail(Code::invalid_argument, "query parameter \"ports\" is required");
  return out;
}

}  // namespace

http::Response serve_port_forward(http::Request& rq, std::shared_ptr<Dialer> dialer, PortForwardTarget target) {
  if (wants_websocket(rq)) {
    static constexpr std::string_view kProtocols[] = {kTunnel, kChannels};
    // The channels need the ports before anything else.
    auto offered = header_list(rq, "Sec-WebSocket-Protocol");
    bool tunnel = std::ranges::find(offered, kTunnel) != offered.end();
    std::vector<std::uint16_t> ports;
    if (!tunnel) {
      auto named = query_ports(rq);
      if (!named) return status_response(400, "BadRequest", named.error().message);
      ports = std::move(*named);
    }
    auto run = [dialer, target, ports](WebSocket& ws, http::ByteStream& io,
                                       std::string_view protocol) mutable -> task::Task<void> {
      if (protocol == kTunnel) {
        WebSocketStream tunnelled(ws, io);
        co_await run_spdy(tunnelled, std::move(dialer), std::move(target));
      } else {
        ChannelForward f(ws, io, std::move(ports), std::move(dialer), std::move(target));
        co_await f.run();
      }
    };
    std::span<const std::string_view> supported(kProtocols);
    auto r = accept_websocket(rq, tunnel ? supported.first(1) : supported.last(1), !tunnel, std::move(run));
    if (!r) return status_response(400, "BadRequest", r.error().message);
    return std::move(*r);
  }
  if (wants_spdy(rq))
    return accept_spdy(rq, {kSpdyVersion}, [dialer, target](http::ByteStream& io) mutable {
      return run_spdy(io, std::move(dialer), std::move(target));
    });
  return status_response(400, "BadRequest", "Upgrade request required");
}

}  // namespace mr::stream
