#include "metrics/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

namespace mr::metrics {

namespace {
prometheus::Registry& registry() {
  static prometheus::Registry r;
  return r;
}
prometheus::Labels to_labels(const Labels& l) { return {l.begin(), l.end()}; }
}  // namespace

void Counter::add(double v) const { static_cast<prometheus::Counter*>(p_)->Increment(v); }
void Gauge::set(double v) const { static_cast<prometheus::Gauge*>(p_)->Set(v); }
void Gauge::add(double v) const { static_cast<prometheus::Gauge*>(p_)->Increment(v); }
void Histogram::observe(double v) const { static_cast<prometheus::Histogram*>(p_)->Observe(v); }

Counter counter(const std::string& name, const std::string& help, const Labels& labels) {
  return Counter(&prometheus::BuildCounter().Name(name).Help(help).Register(registry()).Add(to_labels(labels)));
}
Gauge gauge(const std::string& name, const std::string& help, const Labels& labels) {
  return Gauge(&prometheus::BuildGauge().Name(name).Help(help).Register(registry()).Add(to_labels(labels)));
}
Histogram duration_histogram(const std::string& name, const std::string& help, const Labels& labels) {
  static const prometheus::Histogram::BucketBoundaries b{
      50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
  return Histogram(&prometheus::BuildHistogram().Name(name).Help(help).Register(registry()).Add(to_labels(labels), b));
}

Histogram count_histogram(const std::string& name, const std::string& help, const Labels& labels) {
  static const prometheus::Histogram::BucketBoundaries b{0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096};
  return Histogram(&prometheus::BuildHistogram().Name(name).Help(help).Register(registry()).Add(to_labels(labels), b));
}

Histogram millisecond_histogram(const std::string& name, const std::string& help, const Labels& labels) {
  static const prometheus::Histogram::BucketBoundaries b{5,   10,   20,   40,   60,    80,    100,   150,   200,
                                                         250, 300,  350,  400,  450,   500,   600,   700,   800,
                                                         900, 1000, 2000, 5000, 10000, 20000, 50000, 100000};
  return Histogram(&prometheus::BuildHistogram().Name(name).Help(help).Register(registry()).Add(to_labels(labels), b));
}

std::string expose() {
  static Gauge resident = gauge("process_resident_memory_bytes", "Resident memory size in bytes.");
  static Gauge cpu = gauge("process_cpu_seconds_total", "User and system CPU time in seconds.");
  std::ifstream statm("/proc/self/statm");
  long pages = 0;
  long rss = 0;
  if (statm >> pages >> rss) resident.set(static_cast<double>(rss * sysconf(_SC_PAGESIZE)));
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  cpu.set(static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
          static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, registry().Collect());
  return out.str();
}

}  // namespace mr::metrics
