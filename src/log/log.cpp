#include "log/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>

namespace mr::log {

namespace {

std::shared_ptr<spdlog::logger> make(const Options& o) {
  spdlog::sink_ptr sink;
  if (o.file.empty())
    sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  else
    sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(o.file);
  auto logger = std::make_shared<spdlog::logger>("millrace", sink);
  // The JSON form writes its own time and level inside the record.
  logger->set_pattern(o.format == Format::json ? "%v" : "%Y-%m-%d %H:%M:%S.%e %^%-5l%$ %v");
  logger->flush_on(spdlog::level::warn);
  return logger;
}

std::shared_ptr<spdlog::logger> logger = make({});
Format format = Format::text;
std::atomic<Level> threshold = Level::info;

spdlog::level::level_enum to_spd(Level l) {
  switch (l) {
    case Level::debug:
      return spdlog::level::debug;
    case Level::info:
      return spdlog::level::info;
    case Level::warn:
      return spdlog::level::warn;
    case Level::error:
      return spdlog::level::err;
    case Level::off:
      return spdlog::level::off;
  }
  return spdlog::level::info;
}

std::string json_text(std::string_view s) { return boost::json::serialize(boost::json::string(s)); }

}  // namespace

void configure(const Options& o) {
  logger = make(o);
  logger->set_level(to_spd(o.level));
  logger->flush_on(spdlog::level::info);
  format = o.format;
  threshold = o.level;
}

bool enabled(Level level) { return level >= threshold.load(std::memory_order_relaxed); }

void write(Level level, std::string_view message, std::initializer_list<Field> fields) {
  if (!enabled(level)) return;
  std::string line;
  if (format == Format::json) {
    auto now =
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
            .count();
    static const char* names[] = {"debug", "info", "warn", "error", "off"};
    line = fmt::format(R"({{"time_ms":{},"level":"{}","message":{})", now, names[static_cast<int>(level)],
                       json_text(message));
    for (const auto& f : fields)
      line += fmt::format(",{}:{}", json_text(f.key), f.number ? f.value : json_text(f.value));
    line += '}';
  } else {
    line = message;
    for (const auto& f : fields) {
      bool plain = f.number || (!f.value.empty() && f.value.find_first_of(" \"\n\r\t=\\") == std::string::npos);
      line += fmt::format(" {}={}", f.key, plain ? f.value : json_text(f.value));
    }
  }
  logger->log(to_spd(level), "{}", line);
}

void flush() { logger->flush(); }

}  // namespace mr::log
