module efsstransfer

go 1.19
