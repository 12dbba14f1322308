#include <boost/json/array.hpp>

#include "kube/names.h"
#include "kube/validate_parts.h"
#include "text/text.h"

namespace mr::kube {

namespace {

void check_mode(FieldErrors& e, const Object& o, const std::string& path, std::string_view key) {
  const auto* v = o.if_contains(key);
  if (v != nullptr && v->is_number() && (int_at(o, key) < 0 || int_at(o, key) > 0777))
    e.push_back(invalid(sub(path, key), *v, "must be a number between 0 and 0777 (octal), both inclusive"));
}

void check_items(FieldErrors& e, const Object& source, const std::string& path) {
  const auto& list = array_at(source, "items");
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (!list[i].is_object()) continue;
    const auto& o = list[i].get_object();
    auto here = item(sub(path, "items"), i);
    if (text_at(o, "key").empty()) e.push_back(required(sub(here, "key")));
    if (text_at(o, "path").empty())
      e.push_back(required(sub(here, "path")));
    else
      check_relative(e, text_at(o, "path"), sub(here, "path"));
    check_mode(e, o, here, "mode");
  }
}

void check_downward(FieldErrors& e, const Object& source, const std::string& path) {
  check_mode(e, source, path, "defaultMode");
  const auto& list = array_at(source, "items");
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (!list[i].is_object()) continue;
    const auto& o = list[i].get_object();
    // The real server's faults name the volume, not the file.
    if (text_at(o, "path").empty())
      e.push_back(required(sub(path, "path")));
    else
      check_relative(e, text_at(o, "path"), sub(path, "path"));
    const auto* field = child(o, "fieldRef");
    const auto* resource = child(o, "resourceFieldRef");
    if (field != nullptr) {
      check_field_ref(e, *field, sub(path, "fieldRef"), false);
      if (resource != nullptr)
        e.push_back(invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"));
    } else if (resource != nullptr) {
      check_resource_ref(e, *resource, sub(path, "resourceFieldRef"));
    } else {
      e.push_back(required(path, "one of fieldRef and resourceFieldRef is required"));
    }
    check_mode(e, o, path, "mode");
  }
}

void check_projected(FieldErrors& e, const Object& p, const std::string& path) {
  check_mode(e, p, path, "defaultMode");
  const auto& sources = array_at(p, "sources");
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (!sources[i].is_object()) continue;
    const auto& s = sources[i].get_object();
    auto here = item(sub(path, "sources"), i);
    int kinds = 0;
    auto one = [&](std::string_view key) -> const Object* {
      const auto* o = child(s, key);
      if (o != nullptr && kinds++ > 0)
        e.push_back(forbidden(sub(here, key), "may not specify more than 1 volume type"));
      return o;
    };
    for (std::string_view key : {"secret", "configMap"})
      if (const auto* o = one(key)) {
        if (text_at(*o, "name").empty()) e.push_back(required(sub(sub(here, key), "name")));
        check_items(e, *o, sub(here, key));
      }
    if (const auto* o = one("downwardAPI")) check_downward(e, *o, sub(here, "downwardAPI"));
    if (const auto* o = one("serviceAccountToken")) {
      auto at = sub(here, "serviceAccountToken.expirationSeconds");
      auto seconds = int_at(*o, "expirationSeconds", 3600);
      if (seconds < 600)
        e.push_back(invalid(at, Value(seconds), "may not specify a duration less than 10 minutes"));
      else if (seconds > std::int64_t(1) << 32)
        e.push_back(invalid(at, Value(seconds), "may not specify a duration larger than 2^32 seconds"));
      if (text_at(*o, "path").empty())
        e.push_back(required(sub(path, "path")));
      else
        check_relative(e, text_at(*o, "path"), sub(path, "path"));
    }
    one("clusterTrustBundle");
  }
}

void check_source(FieldErrors& e, std::string_view kind, const Object& s, const std::string& path) {
  if (kind == "emptyDir") {
    const auto* limit = s.if_contains("sizeLimit");
    if (limit != nullptr && limit->is_string() && quantity_milli(std::string_view(limit->get_string())).value_or(0) < 0)
      e.push_back(forbidden(sub(path, "sizeLimit"), "SizeLimit field must be a valid resource quantity"));
  } else if (kind == "hostPath") {
    auto p = text_at(s, "path");
    if (p.empty()) {
      e.push_back(required(sub(path, "path")));
      return;
    }
    for (auto part : text::split(p, '/'))
      if (part == "..") e.push_back(invalid(sub(path, "path"), Value(p), "must not contain '..'"));
    check_one_of(e, sub(path, "type"), Value(text_at(s, "type")),
                 {"", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"});
  } else if (kind == "secret") {
    if (text_at(s, "secretName").empty()) e.push_back(required(sub(path, "secretName")));
    check_mode(e, s, path, "defaultMode");
    check_items(e, s, path);
  } else if (kind == "configMap") {
    if (text_at(s, "name").empty()) e.push_back(required(sub(path, "name")));
    check_mode(e, s, path, "defaultMode");
    check_items(e, s, path);
  } else if (kind == "persistentVolumeClaim") {
    if (text_at(s, "claimName").empty()) e.push_back(required(sub(path, "claimName")));
  } else if (kind == "downwardAPI") {
    check_downward(e, s, path);
  } else if (kind == "projected") {
    check_projected(e, s, path);
  } else if (kind == "nfs") {
    for (std::string_view key : {"server", "path"})
      if (text_at(s, key).empty()) e.push_back(required(sub(path, key)));
  } else if (kind == "ephemeral") {
    if (child(s, "volumeClaimTemplate") == nullptr)
      e.push_back(required(sub(path, "volumeClaimTemplate")));
    else
      validate_claim_spec(e, object_at(s, "volumeClaimTemplate.spec"), sub(path, "volumeClaimTemplate.spec"));
  } else if (kind == "csi") {
    if (text_at(s, "driver").empty()) e.push_back(required(sub(path, "driver")));
  }
}

}  // namespace

void check_relative(FieldErrors& e, std::string_view v, const std::string& path) {
  if (v.starts_with('/')) e.push_back(invalid(path, Value(v), "must be a relative path"));
  for (auto part : text::split(v, '/'))
    if (part == "..") {
      e.push_back(invalid(path, Value(v), "must not contain '..'"));
      return;
    }
  if (v.starts_with("..")) e.push_back(invalid(path, Value(v), "must not start with '..'"));
}

VolumeNames check_volumes(FieldErrors& e, const Array& volumes, const std::string& path) {
  VolumeNames names;
  // In the order in which the real server looks for them: the later of two sources is the fault.
  static constexpr std::string_view kinds[] = {"emptyDir",
                                               "hostPath",
                                               "gitRepo",
                                               "gcePersistentDisk",
                                               "awsElasticBlockStore",
                                               "secret",
                                               "nfs",
                                               "iscsi",
                                               "glusterfs",
                                               "persistentVolumeClaim",
                                               "rbd",
                                               "cinder",
                                               "cephfs",
                                               "flocker",
                                               "downwardAPI",
                                               "fc",
                                               "azureFile",
                                               "configMap",
                                               "vsphereVolume",
                                               "photonPersistentDisk",
                                               "portworxVolume",
                                               "azureDisk",
                                               "storageos",
                                               "projected",
                                               "scaleIO",
                                               "csi",
                                               "ephemeral",
                                               "image"};
  for (std::size_t i = 0; i < volumes.size(); ++i) {
    if (!volumes[i].is_object()) continue;
    const auto& v = volumes[i].get_object();
    auto here = item(path, i);
    int found = 0;
    const auto before = e.size();
    for (auto kind : kinds) {
      const auto* s = child(v, kind);
      if (s == nullptr) continue;
      if (found++ > 0)
        e.push_back(forbidden(sub(here, kind), "may not specify more than 1 volume type"));
      else
        check_source(e, kind, *s, sub(here, kind));
    }
    auto name = text_at(v, "name");
    auto faults = name.empty() ? Faults{} : dns_label(name);
    if (name.empty())
      e.push_back(required(sub(here, "name")));
    else if (!faults.empty())
      invalid_all(e, sub(here, "name"), Value(name), faults);
    else if (names.contains(name))
      e.push_back(duplicate(sub(here, "name"), Value(name)));
    else if (e.size() == before)
      names.emplace(name);  // a volume that is at fault cannot be mounted
  }
  return names;
}

}  // namespace mr::kube
