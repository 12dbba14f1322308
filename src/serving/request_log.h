// Requests and answers as CloudEvents to a sink, as KServe's agent logs them: POSTed one by one in binary mode, request
// and answer under one Ce-Id. The queue is bounded by number and bytes; what does not fit is dropped and counted, and a
// request never waits for its events. Thread safe.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "http/client_tls.h"
#include "http/message.h"
#include "serving/load.h"

namespace mr::serving {

enum class LogMode : std::uint8_t { all, request, response };

struct RequestLogOptions {
  std::string url;  // http://… or https://…
  LogMode mode = LogMode::all;
  std::string source;                                            // Ce-Source
  std::string service, ns, component, endpoint;                  // Ce-Inferenceservicename and so on
  std::vector<std::string> metadata_headers;                     // of requests, passed on in Ce-Metadata
  std::vector<std::pair<std::string, std::string>> annotations;  // passed on in Ce-Annotations
  http::ClientTls tls;
  std::function<std::string(const std::string& host, int port)> resolve;  // as StorageOptions::resolve; may be empty
  LogLine say;                                                            // what goes wrong, at most once a minute
  std::size_t queue = 1000;                                               // events that wait, and
  std::size_t bytes = 64U << 20;                                          // the bytes of their bodies
  int workers = 4;
};

// "all", "request", "response"; another text is an error.
Result<LogMode> parse_log_mode(std::string_view text);
// "a,b" and "k=v,k=v", as KServe's agent takes them.
std::vector<std::string> parse_names(std::string_view text);
Result<std::vector<std::pair<std::string, std::string>>> parse_annotations(std::string_view text);

struct LoggedEvent {
  bool answer = false;
  std::string id, content_type;
  std::int64_t time_ms = 0;
  std::string metadata;  // the text of a JSON object
  std::shared_ptr<const std::string> body;
};
// The headers of an event as it is sent. A pure function.
http::Headers event_headers(const RequestLogOptions& options, const LoggedEvent& event);

class RequestLog {
 public:
  // Errors: invalid_argument, a URL that nothing can be sent to.
  static Result<std::shared_ptr<RequestLog>> make(RequestLogOptions options);
  explicit RequestLog(RequestLogOptions options);
  ~RequestLog();
  RequestLog(const RequestLog&) = delete;
  RequestLog& operator=(const RequestLog&) = delete;
  void add(LoggedEvent event);
  // Sends what waits, for at most so long, and drops the rest. Blocking; nothing may be added after.
  void stop(int grace_s);
  [[nodiscard]] const RequestLogOptions& options() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// `inner` with its inference requests (POSTs to a model) logged. An answer is logged when it is a 200, as KServe has
// it.
http::Handler with_request_log(http::Handler inner, std::shared_ptr<RequestLog> log);

}  // namespace mr::serving
