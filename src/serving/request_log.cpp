#include "serving/request_log.h"

#include <atomic>
#include <mutex>

#include "crypto/random.h"
#include "http/client.h"
#include "json/writer.h"
#include "metrics/metrics.h"
#include "serving/exchange.h"
#include "serving/read_body.h"
#include "text/text.h"
#include "text/uri.h"
#include "time/clock.h"

namespace mr::serving {

namespace {

constexpr int kSendTimeoutS = 5;
constexpr std::int64_t kSayEveryNs = 60'000'000'000;

// What a header may hold; the rest becomes a space.
std::string header_safe(std::string_view s) {
  std::string out;
  for (char c : s) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? ' ' : c;
  return out;
}

bool asks_a_model(const http::Request& rq) {
  return rq.method == http::Method::post &&
         (rq.path.starts_with("/v2/models/") || rq.path.starts_with("/v1/models/") || rq.path == "/invocations");
}

std::string metadata_of(const RequestLogOptions& o, const http::Request& rq) {
  std::string out = "{";
  for (const auto& name : o.metadata_headers) {
    if (!rq.headers.has(name)) continue;
    if (out.size() > 1) out += ',';
    json::append_string_ascii(out, name);
    out += ":[";
    bool first = true;
    for (const auto& [n, v] : rq.headers.items()) {
      if (!text::iequals(n, name)) continue;
      if (!std::exchange(first, false)) out += ',';
      json::append_string_ascii(out, v);
    }
    out += ']';
  }
  return out + "}";
}

}  // namespace

Result<LogMode> parse_log_mode(std::string_view text) {
  if (text.empty() || text == "all") return LogMode::all;
  if (text == "request") return LogMode::request;
  if (text == "response") return LogMode::response;
  return fail(Code::invalid_argument,
              fmt::format("invalid logger type: '{}' is none of all, request and response", printable(text)));
}

std::vector<std::string> parse_names(std::string_view list) {
  std::vector<std::string> out;
  for (auto part : text::split(list, ','))
    if (auto name = text::trim(part); !name.empty()) out.emplace_back(name);
  return out;
}

Result<std::vector<std::pair<std::string, std::string>>> parse_annotations(std::string_view list) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& part : parse_names(list)) {
    auto eq = part.find('=');
    if (eq == std::string::npos || eq == 0)
      return fail(Code::invalid_argument,
                  fmt::format("'{}' is no annotation: write name=value, separated by commas", printable(part)));
    out.emplace_back(part.substr(0, eq), part.substr(eq + 1));
  }
  return out;
}

http::Headers event_headers(const RequestLogOptions& o, const LoggedEvent& e) {
  http::Headers h;
  h.add("Ce-Specversion", "1.0");
  h.add("Ce-Id", header_safe(e.id));
  h.add("Ce-Source", header_safe(o.source));
  h.add("Ce-Type", fmt::format("org.kubeflow.serving.inference.{}", e.answer ? "response" : "request"));
  h.add("Ce-Time", time::iso8601_ms(e.time_ms));
  h.add("Ce-Recordedtime", time::iso8601_ms(time::now_ms()));
  // An attribute without a value is none.
  for (const auto& [name, value] : {std::pair<const char*, const std::string&>{"Ce-Inferenceservicename", o.service},
                                    {"Ce-Namespace", o.ns},
                                    {"Ce-Component", o.component},
                                    {"Ce-Endpoint", o.endpoint}})
    if (!value.empty()) h.add(name, header_safe(value));
  h.add("Ce-Metadata", header_safe(e.metadata.empty() ? "{}" : e.metadata));
  if (!o.annotations.empty()) {
    std::string json = "{";
    for (const auto& [k, v] : o.annotations) {
      if (json.size() > 1) json += ',';
      json::append_string_ascii(json, k);
      json += ':';
      json::append_string_ascii(json, v);
    }
    h.add("Ce-Annotations", json + "}");
  }
  h.add("Content-Type", e.content_type.empty() ? "application/json" : header_safe(e.content_type));
  return h;
}

struct RequestLog::Impl {
  explicit Impl(RequestLogOptions o)
      : options(std::move(o)),
        sent(count("sent")),
        dropped(count("dropped")),
        failed(count("failed")),
        pool("mr-request-log", static_cast<unsigned>(options.workers), options.queue) {
    auto u = text::parse_uri(options.url);
    host = u.authority.substr(u.authority.rfind('@') + 1);
    // By a Service's address, the certificate names the Service all the same.
    if (options.tls.server_name.empty()) options.tls.server_name = host.substr(0, host.rfind(':'));
  }

  [[nodiscard]] metrics::Counter count(const char* result) const {
    return metrics::counter("millrace_request_log_events_total", "Requests and answers for the log's sink.",
                            {{"inference_service", options.service}, {"namespace", options.ns}, {"result", result}});
  }

  void add(LoggedEvent e) {
    const auto size = e.body->size();
    if (waiting_bytes.fetch_add(size) + size <= options.bytes && pool.submit([this, size, event = std::move(e)] {
          send(event);
          waiting_bytes.fetch_sub(size);
        }))
      return;
    waiting_bytes.fetch_sub(size);
    dropped.add();
    say_now(drop_said, "requests are dropped from the log: its sink takes them more slowly than they come");
  }

  // At most once a minute: who cannot be reached now cannot be reached a thousand times.
  void say_now(std::atomic<std::int64_t>& last, const std::string& text) {
    auto now = time::mono_ns();
    auto before = last.load();
    if ((before != 0 && now - before < kSayEveryNs) || !last.compare_exchange_strong(before, now)) return;
    if (options.say) options.say(text);
  }

  void send(const LoggedEvent& e) {
    if (auto end = give_up_ns.load(); end != 0 && time::mono_ns() > end) {
      dropped.add();
      return;
    }
    thread_local http::Client client(options.tls);  // the threads are this log's own
    http::ClientRequest rq;
    rq.method = http::Method::post;
    rq.url = options.url;
    rq.headers = event_headers(options, e);
    rq.body = *e.body;
    rq.max_body = 1U << 20;
    rq.timeout_s = kSendTimeoutS;
    address(rq);
    auto answer = client.send(rq);
    if (answer && answer->status >= 200 && answer->status < 300) {
      sent.add();
      return;
    }
    failed.add();
    say_now(failure_said, fmt::format("the log's sink {} does not take events: {}", host,
                                      answer ? fmt::format("it answers {}", answer->status) : answer.error().message));
  }

  // A Service's name becomes its address, a short name as one of this namespace; the Host stays what it was.
  void address(http::ClientRequest& rq) const {
    if (!options.resolve) return;
    auto u = text::parse_uri(rq.url);
    auto colon = u.authority.rfind(':');
    int port = colon == std::string::npos
                   ? (u.scheme == "https" ? 443 : 80)
                   : static_cast<int>(text::to_i64(std::string_view(u.authority).substr(colon + 1)).value_or(0));
    auto name = u.authority.substr(0, colon);
    std::string to;
    if (!name.contains('.') && !options.ns.empty()) to = options.resolve(name + "." + options.ns, port);
    if (to.empty()) to = options.resolve(name, port);
    if (to.empty()) return;
    rq.headers.set("Host", u.authority);
    rq.url = u.scheme + "://" + to + u.path + (u.query.empty() ? "" : "?" + u.query);
  }

  RequestLogOptions options;
  std::string host;
  metrics::Counter sent, dropped, failed;
  std::atomic<std::size_t> waiting_bytes = 0;
  std::atomic<std::int64_t> drop_said = 0, failure_said = 0, give_up_ns = 0;
  std::once_flag stopped;
  task::Pool pool;  // last: its threads use what stands above
};

Result<std::shared_ptr<RequestLog>> RequestLog::make(RequestLogOptions o) {
  auto u = text::parse_uri(o.url);
  if ((u.scheme != "http" && u.scheme != "https") || u.authority.empty())
    return fail(Code::invalid_argument,
                fmt::format("requests cannot be logged to '{}': it is no http:// or https:// URL", printable(o.url)));
  if (u.authority.contains('@'))
    return fail(Code::invalid_argument, "the URL that requests are logged to may not have a user and a password in it");
  if (u.scheme == "https" && !o.tls.insecure) MR_CHECK(http::make_client_context(o.tls));
  return std::make_shared<RequestLog>(std::move(o));
}

RequestLog::RequestLog(RequestLogOptions o) : impl_(std::make_unique<Impl>(std::move(o))) {}
RequestLog::~RequestLog() { stop(0); }
void RequestLog::add(LoggedEvent e) { impl_->add(std::move(e)); }
const RequestLogOptions& RequestLog::options() const { return impl_->options; }
void RequestLog::stop(int grace_s) {
  std::call_once(impl_->stopped, [&] {
    impl_->give_up_ns = time::mono_ns() + static_cast<std::int64_t>(grace_s) * 1'000'000'000;
    impl_->pool.stop();
  });
}

http::Handler with_request_log(http::Handler inner, std::shared_ptr<RequestLog> log) {
  return [inner = std::move(inner), log = std::move(log)](http::Request& rq) -> task::Task<http::Response> {
    if (!asks_a_model(rq)) co_return co_await inner(rq);
    const auto& o = log->options();
    LoggedEvent event;
    event.time_ms = time::now_ms();
    auto read = co_await http::read_all(rq, kBodyLimit);
    if (!read) co_return body_error(read.error());
    auto body = std::make_shared<const std::string>(std::move(*read));
    event.id = rq.headers.get("Ce-Id");
    if (event.id.empty()) event.id = crypto::uuid4();
    event.content_type = rq.headers.get("Content-Type");
    event.metadata = metadata_of(o, rq);
    event.body = body;
    if (o.mode != LogMode::response) log->add(event);
    auto answer = co_await answered_by(inner, rq, *body);
    if (o.mode != LogMode::request && answer.status == 200)
      if (const auto* text = std::get_if<std::string>(&answer.body)) {
        event.answer = true;
        event.time_ms = time::now_ms();
        if (auto type = answer.headers.get("Content-Type"); !type.empty()) event.content_type = type;
        event.body = std::make_shared<const std::string>(*text);
        log->add(std::move(event));
      }
    co_return answer;
  };
}

}  // namespace mr::serving
