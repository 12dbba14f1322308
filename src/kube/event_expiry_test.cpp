#include <gtest/gtest.h>

#include "kube/controllers/controllers.h"
#include "time/clock.h"

namespace mr::kube {
namespace {

ObjectPtr told(std::string_view name, std::string_view last, std::string_view created = "2026-01-01T00:00:00Z") {
  Object e = make_object("v1", "Event", "ns", name);
  metadata(e)["creationTimestamp"] = created;
  if (!last.empty()) e["lastTimestamp"] = last;
  return std::make_shared<const Object>(std::move(e));
}

std::string names(const std::vector<ObjectPtr>& list) {
  std::string out;
  for (const auto& e : list) out += (out.empty() ? "" : " ") + std::string(name_of(*e));
  return out;
}

TEST(EventExpiry, TheOldGoAndTheSurplus) {
  const auto now = time::parse_rfc3339_ns("2026-01-01T03:00:00Z").value() / 1'000'000;
  const std::vector<ObjectPtr> all{
      told("fresh", "2026-01-01T02:59:00Z"),      told("old", "2026-01-01T00:30:00Z"),
      told("hour", "2026-01-01T02:00:01Z"),       told("again", "2026-01-01T02:30:00Z", "2025-12-31T00:00:00Z"),
      told("untold", "", "2026-01-01T01:00:00Z"), told("timeless", "", "")};
  constexpr std::int64_t kHour = 3'600'000;
  EXPECT_EQ(names(expired_events(all, now, kHour, 100)), "old untold");
  EXPECT_EQ(names(expired_events(all, now, kHour, 3)), "old untold hour");
  EXPECT_EQ(names(expired_events(all, now, 24 * kHour, 100)), "");
  EXPECT_EQ(names(expired_events({}, now, kHour, 0)), "");
}

}  // namespace
}  // namespace mr::kube
