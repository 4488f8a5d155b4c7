#!/usr/bin/env bash
# Puts the brokers in place that the tests run against, where they are not there yet: Mosquitto, and Kafka from its Maven
# artifacts under ~/.cache/gemel/brokers (or XDG_CACHE_HOME), outside the checkout. `make test` calls it.
set -euo pipefail

CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/gemel/brokers"
KAFKA=4.1.1

# need COMMAND PACKAGE...: installs Debian packages where a command is missing and this is root; else says what to do.
need() {
    local command=$1
    shift
    [ -n "$(command -v "$command" || ls "/usr/sbin/$command" 2>/dev/null)" ] && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "Installing $* ..."
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    else
        echo "The tests run against real brokers and need $command; on Debian: apt install $*" >&2
        exit 1
    fi
}

kafka() {
    local home="$CACHE/kafka-$KAFKA" work
    [ -e "$home/kafka_2.13-$KAFKA.jar" ] && return
    need mvn maven
    echo "Fetching Kafka $KAFKA ..."
    mkdir -p "$CACHE"
    work=$(mktemp -d "$CACHE/.kafka-XXXXXX")
    cat >"$work/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>gemel</groupId><artifactId>brokers</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$KAFKA</version>
    </dependency>
  </dependencies>
</project>
POM
    (cd "$work" && mvn -q -B -ntp dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$work/lib")
    # In one move, so that one that was broken off is not taken for whole.
    rm -rf "$home"
    mv "$work/lib" "$home"
    rm -rf "$work"
}

need mosquitto mosquitto
need java default-jre-headless
kafka
