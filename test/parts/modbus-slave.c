/* A Modbus RTU slave on libmodbus, unit 17. Says `ready`, then each request as `function address count`, on standard output. */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
  modbus_t *line = modbus_new_rtu(argv[argc - 1], 115200, 'N', 8, 1);
  modbus_mapping_t *tables = modbus_mapping_new(100, 100, 100, 100);
  for (int i = 0; i < 100; i++) {
    tables->tab_bits[i] = i % 3 == 0;
    tables->tab_input_bits[i] = i % 2 == 0;
    tables->tab_registers[i] = i;
    tables->tab_input_registers[i] = i * 10;
  }
  uint16_t *inputs = tables->tab_input_registers;
  /* 21.3 as a float is 41 AA 66 66; libmodbus's own modbus_set_float_* follow the byte order of the host. */
  const uint16_t words[] = {0x41AA, 0x6666, 0x6666, 0xAA41, 0xAA41, 0x6666, 0x6666, 0x41AA};
  memcpy(inputs + 20, words, sizeof words);
  const uint16_t negatives[] = {0xFFFE, 0x7960, 0xFFDF, 0xFFFF, 0xFFFF, 0xFFFF}; /* -100000, -(2^53 + 1) */
  memcpy(inputs + 30, negatives, sizeof negatives);
  inputs[40] = (uint16_t)-215;
  inputs[41] = 0x8001;
  inputs[42] = 'H' << 8 | 'i';
  inputs[43] = '!' << 8;

  modbus_set_slave(line, 17);
  if (modbus_connect(line)) {
    perror("connect");
    return 1;
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  puts("ready");
  uint8_t query[MODBUS_RTU_MAX_ADU_LENGTH];
  for (;;) {
    int length = modbus_receive(line, query);
    if (length > 0) {
      printf("%d %d %d\n", query[1], query[2] << 8 | query[3], query[4] << 8 | query[5]);
      modbus_reply(line, query, length, tables);
    } else if (length < 0 && errno != EMBBADCRC && errno != ETIMEDOUT) {
      return 2;
    }
  }
}
