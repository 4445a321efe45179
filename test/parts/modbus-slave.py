# A Modbus RTU line with two slaves on pymodbus. Unit 1 has holding registers 0-2 and 6-8 and nothing between; unit 2 has all.
import asyncio
import sys

from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext, ModbusSparseDataBlock
from pymodbus.server import StartAsyncSerialServer
from pymodbus.transaction import ModbusRtuFramer

holes = ModbusSparseDataBlock({0: [100, 101, 102], 6: [106, 107, 108]})
whole = ModbusSequentialDataBlock(0, list(range(200, 300)))
coils = ModbusSequentialDataBlock(0, [0] * 100)
slaves = {1: ModbusSlaveContext(hr=holes, zero_mode=True), 2: ModbusSlaveContext(hr=whole, co=coils, zero_mode=True)}


async def main():
    server = StartAsyncSerialServer(
        context=ModbusServerContext(slaves=slaves, single=False),
        framer=ModbusRtuFramer,
        port=sys.argv[1],
        baudrate=115200,
        timeout=1,
    )
    asyncio.get_running_loop().call_later(0.05, lambda: print("ready", flush=True))
    await server


asyncio.run(main())
